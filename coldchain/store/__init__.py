"""Adapters of `ports.store.Store`: in memory, SQLite on one machine, etcd for several.

What must not live here: knowledge of what is stored; values are bytes.
"""
