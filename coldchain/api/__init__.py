"""The HTTP face: Marathon's /v2 as users' tools know it, and Coldchain's /v1 beside it.

Handlers decode (documents), call `control`, and encode. They never touch an adapter.
"""
