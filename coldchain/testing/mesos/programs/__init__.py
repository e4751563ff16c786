"""Stand-ins for the programs that an agent calls and that the library does not hold.

Each is a script of the standard library alone. `containerizer` starts executors; `executor` runs a task that has only a
command, and a container of Docker for the containerizer of that name; `saying` is an executor that runs nothing, for
benches. They do what the agent sees of the real ones, and no more: nothing is isolated.
"""
