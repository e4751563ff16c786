"""Services called over HTTP: the adapter of the port HttpCaller.

Where a service is, is not for here to know: an address is the gateway's, or that of a service outside the platform.
"""
