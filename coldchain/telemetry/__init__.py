"""Metrics, notifications and logs leave through here.

Still empty: its work has not begun.
"""
