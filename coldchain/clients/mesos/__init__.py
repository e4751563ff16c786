"""Clients of Apache Mesos's v1 HTTP APIs; they know nothing of ours.

Documents go in and come out as plain dicts, exactly as Mesos's JSON spells them.
"""
