"""How a task runs on its machine: one file or package per runner, each an adapter of `ports.runner.Runner`.

`docker` starts containers through the Engine API. A runner keeps no state of its own beside what the machine keeps
(labels of containers), so a new controller adopts what an old one started, and only that.
"""
