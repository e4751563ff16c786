"""Requests that two servers may read differently, and an application that tells everything that reached it."""
