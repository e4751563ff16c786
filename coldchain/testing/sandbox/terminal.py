"""The terminal, which only one process group may use at a time."""

import os
import signal
import sys


class Terminal:
    """The launcher's terminal, if it has it at its disposal.

    Only when standard input and output are both the terminal: in a pipeline such as `bin/test | less` the terminal
    stays with the launcher's group, and signals from it reach the command by way of the launcher.
    """

    def __init__(self) -> None:
        self._ours = os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()

    def give_to(self, group: int) -> None:
        """Let `group` read from it and get its Ctrl-C."""
        if self._ours:
            _set_foreground(group)

    def take_back(self) -> None:
        """The launcher's group again."""
        if self._ours:
            _set_foreground(os.getpgrp())

    def stop_with(self, group: int) -> None:
        """The command was stopped (Ctrl-Z): stop too, so that the shell gets the terminal; go on as told."""
        self.take_back()
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])  # here we stop, until the shell says go on
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
        if self._ours and os.tcgetpgrp(0) == os.getpgrp():
            self.give_to(group)
        os.killpg(group, signal.SIGCONT)


def _set_foreground(group: int) -> None:
    """A group that has not got the terminal is stopped for this call unless it blocks SIGTTOU."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    try:
        os.tcsetpgrp(0, group)
    except OSError as error:
        print(f"sandbox: the terminal stays with another group: {error}", file=sys.stderr)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
