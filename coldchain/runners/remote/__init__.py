"""Runner remote: the runners of another machine, asked over HTTP.

What lives here: `server`, which serves a port Runner (and the prober beside it) to who has the token; `client`, which
is a port Runner and a port Prober again at the other end; `wire` and `session`: what both say to each other. What must
not: decisions, and what runs a task: that is the runner behind the server.
Data comes as requests whose bodies are nouns; errors travel as what they are, so that both ends raise the same.
"""

from coldchain.runners.remote.client import RemoteRunner
from coldchain.runners.remote.server import RunnerServer

__all__ = ["RemoteRunner", "RunnerServer"]
