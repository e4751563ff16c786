"""Runner process: tasks as processes of this machine, for apps without a container.

What lives here: `specification` and `cgroups` (pure: TaskSpec → what is run and how it is limited), `shim` (the parent
of each task: a program of its own, standard library only), `folder` (what is kept of a task on disk), `status` (pure:
that → TaskStatus), `output`, `fetch` with `archive`, and `runner`, which puts them behind port Runner. What must not:
decisions about what should run.
Data comes as TaskSpec from an engine; it goes out as TaskStatus. What must survive this process is in the task's
folder.
"""

from coldchain.runners.process.runner import ProcessRunner
from coldchain.runners.process.settings import FetchSettings, ProcessSettings

__all__ = ["FetchSettings", "ProcessRunner", "ProcessSettings"]
