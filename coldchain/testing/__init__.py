"""Fakes, simulated loop, checkers, load generator, test application and labs.

Imported by tests, bin/demo and bin/bench only.
"""
