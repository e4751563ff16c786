"""The loops of netd, which runs on each machine of the container network: addresses, routes, policy, attachments.

Each lists what it needs from the store, applies it, then watches; while the store is away the last state stays. What a
container's start needs is on the machine itself, so nothing here stands in its way. What touches Docker, the kernel or
a disk is behind a port, and handed over by `main/netd.py`.
"""
