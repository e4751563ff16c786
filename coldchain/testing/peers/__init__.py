"""What users would take instead, as benches run it beside us: a list in nginx, and Docker Swarm with such a list.

What lives here: `nginx_list` (plain nginx whose list of servers a script rewrites), `swarm` (services of Docker Swarm,
and the script that keeps the list as Docker's events say); for the gateway's bench `proxies` (HAProxy, Envoy, and
`aiohttp_proxy`), `envoy_program`, and `gateway_push`, which times what the gateway is told. What must not: anything
that makes a peer slower or less careful than its users would have it.
"""
