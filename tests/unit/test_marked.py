"""Processes that are known by a variable of their environment."""

import subprocess

from coldchain.runners.marked import environment


def test_a_process_that_has_just_begun_is_known() -> None:
    """Its parent goes on before the kernel shows the environment."""
    for number in range(50):
        with subprocess.Popen(["sleep", "60"], env={"PATH": "/usr/bin:/bin", "MARK": str(number)}) as process:
            try:
                assert f"MARK={number}".encode() in environment(process.pid)
            finally:
                process.kill()
