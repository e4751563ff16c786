"""The Protocols through which the inside speaks to the outside, one file per port.

What lives here: Protocols, the small values that only their signatures need, and the errors they may raise.
What must not: behaviour, defaults, any knowledge of a server.
Faults come in here: whatever a server does wrong reaches `control` as one of `model.errors`.
Each port has one contract suite in tests/contract, run on its fake and on every real adapter.
"""
