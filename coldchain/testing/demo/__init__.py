"""The demo: the main purpose shown on a real machine, under load, with everything counted.

What lives here: what is done to the platform (`scenario`), the live table
(`table`), the sums at the end (`result`). What must not: a number that was not measured; a step that is not done.
"""
