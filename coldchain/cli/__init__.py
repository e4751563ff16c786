"""The command line: an HTTP client of the API and nothing more.

One file per command or family of commands; `main.command` puts them together with those that start processes.
"""
