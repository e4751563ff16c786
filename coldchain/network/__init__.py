"""The container network: Docker driver, IPAM, routes, policy.

Still empty: its work has not begun.
"""
