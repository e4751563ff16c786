"""Several services composed into one answer behind the gateway.

What lives here: so far one method of a service as the answer to an HTTP request; no route leads here yet.
What must not: an adapter or a client; services are called through the port ServiceCaller.
"""
