"""The container network on one machine: Docker's driver and address management, links, routes, packet filter.

`driver/` answers Docker; `links.py` speaks to the kernel by netlink; `bird/` and `filter/` render and apply text;
`journal.py` is netd's own disk. What is given to whom, who peers with whom and who may talk to whom is decided in
`decisions/`; the loops that carry it out are in `control/netd/`. Nothing here knows the store.
"""
