"""Dubbo services: found in ZooKeeper, called with Hessian2.

Still empty: its work has not begun.
"""
