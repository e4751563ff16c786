"""BIRD on this machine: its configuration as text, its life, and what it says on its control socket.

A plan of `decisions/routing.py` comes in, the routes of the kernel are what comes out. What the configuration is made
from, and when, is not decided here. BIRD goes on when netd ends.
"""
