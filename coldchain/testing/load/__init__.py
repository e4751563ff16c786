"""The load generator: an open loop of requests at a fixed rate, and the accounts of what became of each.

What lives here: `plan` (what to send), `generator` (sends it) with `connection` and `answer` below it, `outcome` (what
became of one request), `report` (numbers for people and machines), `accounting` (outcomes against the applications'
own records and against the gateway's access log). What must not: retries, averages that hide a failure, knowledge of
any server but HTTP/1.1. `python -m coldchain.testing.load --help` runs it by hand.
"""
