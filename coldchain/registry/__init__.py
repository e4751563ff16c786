"""The client of the registry (`consul`), and in `server/` the embedded one.

What lives here: the adapter of `ports.registry.Registry`, and a server of Consul's API for who has no Consul.
What must not: what is registered when; that is decided in `decisions` and carried out in `control`.
The client speaks to the embedded server as to a real Consul, over HTTP: moving is a change of address.
"""
