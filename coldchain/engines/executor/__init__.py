"""executor: on a Mesos agent, what starts the agent's tasks by the same runners as engine `local`.

What lives here: `executor` (the loops between agent, decisions and runners), `link` (the subscription to the agent),
`statuses` (its documents), `environment` (what the agent hands down), `claims` (who answers for which task of the
machine, kept on its disk), `sweeper` and `guard` (what ends tasks for which nobody answers any more).
What must not: decisions (`decisions.executor`, `decisions.orphan`), and how a task runs (the runners, handed over by
main as one engine).
Data comes as events of the agent and requests of the scheduler; it goes out as updates.
"""
