"""Frozen data of the whole vocabulary and the rules across its fields, one file per noun.

What lives here: immutable structs (msgspec) and the functions that only look at their fields.
What must not: anything that waits, reads a clock, draws a number, or knows a file or a server.
Data comes from `documents` (decoded text) and from the ports (observations); it goes everywhere.
Imports only the standard library and msgspec.
"""
