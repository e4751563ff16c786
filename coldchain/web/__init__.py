"""The pages of the web interface, served as static files.

Still empty: its work has not begun.
"""
