"""Stand-ins for the programs that an agent calls and that the library does not hold.

Each is a script of the standard library alone. `mesos_containerizer` starts executors, `mesos_executor` runs a task
that has only a command. They do what the agent sees of the real ones, and no more: nothing is isolated.
"""
