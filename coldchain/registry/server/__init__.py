"""The embedded registry: a server that speaks Consul's HTTP API and DNS, for one controller on one machine.

What lives here: its content (in memory and, transitions only, in the store), the loop of its checks, its two servers.
What must not: anything of apps and instances; those come in through the API, as everybody's registrations do.
Data comes from whoever registers; it goes to whoever asks, with blocking queries. The rules are in `decisions.catalog`
and `decisions.key_value`, the text forms in `documents.catalog_*` and `documents.filter`.
"""
