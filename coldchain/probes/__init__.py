"""Adapters of `ports.prober.Prober`: ask an instance over HTTP or TCP, from this process.

What must not live here: what an answer means; that is `decisions.health`.
"""
