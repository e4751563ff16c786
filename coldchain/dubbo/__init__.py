"""Dubbo services: found in ZooKeeper, called with Hessian2.

What lives here: who provides an interface (discovery), and what the controller says to consumers of providers that
leave (switch). What must not: who gets a call, and when an instance may leave; that is decided in `decisions`.
"""
