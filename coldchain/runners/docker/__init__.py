"""Runner docker: tasks as containers of the Docker Engine of one machine.

What lives here: `specification`, `environment` and `parameters` (pure: TaskSpec → container document), `status` (pure:
Docker's documents → TaskStatus), `images` (what a tag means, pulls), `network` (the bridge that Coldchain owns) and
`runner`, which puts them behind port Runner. What must not: decisions about what should run.
Data comes as TaskSpec from an engine and as documents from `clients.docker`; it goes out as TaskStatus.
What must survive this process is written on the containers themselves, as labels.
"""

from coldchain.runners.docker.parameters import unknown_parameters
from coldchain.runners.docker.runner import DockerRunner
from coldchain.runners.docker.settings import DockerSettings

__all__ = ["DockerRunner", "DockerSettings", "unknown_parameters"]
