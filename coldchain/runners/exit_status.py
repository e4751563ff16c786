"""Exit statuses in words, for all runners."""

import signal

SIGNAL_OFFSET = 128
"""An exit status above it is the number of the signal that ended the process, plus this."""


def describe_exit(exit_status: int) -> str:
    """The exit status in words, with the signal's name where one ended the process."""
    if exit_status > SIGNAL_OFFSET:
        try:
            return f"exit status {exit_status} ({signal.Signals(exit_status - SIGNAL_OFFSET).name})"
        except ValueError:
            pass
    return f"exit status {exit_status}"
