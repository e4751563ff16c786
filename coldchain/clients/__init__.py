"""Protocol clients for foreign servers.

What lives here: thin clients that speak a server's protocol and return its words as plain data.
What must not: anything of ours; a client would serve another project as well.
Only adapters use them; `control` and the faces never do.
"""
