"""guard: waits for the end of an executor, and becomes the sweeper then. A program of its own:
`python -I -S guard.py PROGRAM …`, with the far end of a pipe as its input that only the executor holds.

It outlives the executor however that ends, so it is nobody's child, and small: it imports nothing of ours.
"""

import os
import sys

if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # the agent ends the descendants of what it started, and we are none from now on
    os.setsid()
    os.read(0, 1)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 -- our own program
