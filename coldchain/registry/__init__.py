"""The client of the registry, and in server/ the embedded one.

Still empty: its work has not begun.
"""
