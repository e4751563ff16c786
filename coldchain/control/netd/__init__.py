"""The loops of netd, which runs on each machine of the container network.

Each is level-triggered: it reads what it needs from the store, sees that its machine has it so, and waits for a change.
A store that does not answer is waited for, with what is there kept. What the machine is told goes through ports.
"""
