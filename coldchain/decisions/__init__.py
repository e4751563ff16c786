"""Pure functions in the order of the journey of data: what to do, never the doing.

What lives here: functions from data (`now`, ids and randomness included as arguments) to actions as data.
What must not: anything that waits, fails for lack of a server, or remembers.
Data comes from `control`, which gathers it through the ports; the actions go back there to be carried out.
Each file is one decision: reconcile (all of an app), deployment (rolling arithmetic), placement, instance (the table
of an instance's life), backoff, health, rotation, route, address; preview plays them ahead.
"""
