"""Several services composed into one answer behind the gateway.

Still empty: its work has not begun.
"""
