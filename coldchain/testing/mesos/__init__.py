"""Real Apache Mesos 1.11 for tests: masters and agents, each a process, and ZooKeeper, in seconds and without root.

What lives here: `lab` (MesosLab: start, kill, freeze, restart), `settings` (of masters and agents, as data),
`operator_api` (what an operator asks a master), `bare_scheduler` (a framework that does nothing by itself), `library`
(where libmesos comes from), and the processes: `master_process`, `agent_process`, `keeper`, `programs`.
What must not: anything of engine or executor, which are tested with this.

    from coldchain.testing.mesos.lab import MesosLab
    from coldchain.testing.mesos.settings import AgentSettings, MasterSettings

    async with MesosLab() as lab:  # or MesosLab(zookeeper=True), for several masters
        await lab.start_master(MasterSettings(credentials={"principal": "secret"}))
        one = await lab.start_agent(AgentSettings(attributes={"rack": "a"}, variables={"NAME": "value"}))
        await lab.start_agent()
        await lab.registered(2)
        lab.master_address  # HOST:PORT, or zk://HOST:PORT/mesos: what a framework is told
        await one.restart()  # SIGKILL, and a new process in the same folder; executors and tasks live on
        await one.kill()  # after agent_ping_timeout × agent_pings_missed_max its tasks are TASK_UNREACHABLE
        one.start()
        one.freeze(whole=True)  # the agent with its executors and tasks stops, as behind a cut cable; `thaw` goes on
        await one.kill(whole=True)  # the machine is gone, with all that ran on it
        await lab.operator.tasks()  # as Mesos counts them
        assert await lab.operator.twice_counted() == []

All of it dies with the test's process, also when that is killed, and leaves no file. An executor finds the agent it
belongs to in COLDCHAIN_LAB_AGENT (its host name): all agents share one machine, and one Docker where there is one, so
this is what keeps the containers of one from those of another. Agents on machines of a lab of those, each with a Docker
of its own: `MesosLab(address=…, parent=…)`, of the console and below that lab's folder, and
`start_agent(…, door=machine.entered())`.

Of Mesos's programs, which the library does not hold, stand-ins are in `programs`.
"""
