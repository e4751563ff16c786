"""The asyncio loops: read state, call decisions, carry out actions, publish events.

What lives here: the controller's loops (reconciler, prober, rotation publisher) and the loop of the gateway process.
What must not: a decision (they are in `decisions`), a client of a foreign server (they come in through ports).
Data comes from store, engine, prober and gateways through ports; actions go out the same way.
"""
