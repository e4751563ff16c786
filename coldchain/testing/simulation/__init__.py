"""The deterministic simulation: whole lives of a platform under faults, in virtual time, from a seed.

What lives here: schedules made of a seed (`schedule`), the faults (`faults`), the world of fakes around the real loops
(`world`, `ports`, `user`), what must hold after every write and every call (`checkers`), one run (`run`), the
comparison with the run without faults (`oracle`), the table of what was struck (`coverage`), smaller failing
schedules (`shrink`) and bugs planted on purpose to prove that they are found (`planted`).
What must not: a decision, a real clock, a thread, anything random that does not come from the seed.
A seed becomes a schedule, a schedule a result; a schedule is data and can be kept in a file and run again.
"""
