"""Several services composed into one answer behind the gateway.

What lives here: what a file declares, made ready (`prepared`); one answer from its first step to the last (`composing`,
`stepping`); one method of a service as the answer (`exposed_method`); the server in front of it, and what it counts.
What must not: an adapter or a client; services are called through the ports HttpCaller and ServiceCaller.
A request comes from the gateway, its answer goes back there; the calls in between go to services.
"""
