"""Machines reached over SSH, adapters of the port RemoteShell.

Still empty: its work has not begun.
"""
