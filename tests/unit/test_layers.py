"""Which tests `bin/test` runs beside which, and what becomes of those beside when one of them is interrupted."""

import signal
import subprocess
import sys
from pathlib import Path

from coldchain.testing.layers import MOVED, NOTHING_CHOSEN, run_beside, stages, worst


def test_two_layers_run_beside_each_other_and_those_that_wait_for_servers_last() -> None:
    moved = MOVED["e2e"]
    assert stages([], ["-x"]) == [
        [["-n", "2", "tests/unit", "-x"], ["tests/sim", "-x"]],
        [
            ["tests/contract", "tests/compat", *moved, "-x"],
            ["tests/e2e", *(f"--ignore={path}" for path in moved), "-x"],
        ],
    ]
    assert stages(["compat", "e2e"], [])[0][0] == ["tests/compat", *moved]
    assert all(Path(path).is_file() for path in moved)


def test_only_what_was_chosen_runs() -> None:
    assert stages(["e2e", "sim"], []) == [[["-n", "2", "tests/sim"]], [["tests/e2e"]]]
    assert stages(["tests/unit/test_x.py::test_y", "sim"], ["-q"]) == [
        [["tests/unit/test_x.py::test_y", "tests/sim", "-q"]]
    ]


def test_a_part_without_tests_is_right_and_a_whole_is_not() -> None:
    assert worst([NOTHING_CHOSEN, 0]) == 0
    assert worst([NOTHING_CHOSEN, NOTHING_CHOSEN]) == NOTHING_CHOSEN
    assert worst([0, NOTHING_CHOSEN, 1, 3]) == 1


def test_every_layer_there_is_has_a_stage() -> None:
    folders = {path.parent.name for path in Path("tests").glob("*/test_*.py")}
    assert {word.removeprefix("tests/") for stage in stages([], []) for part in stage for word in part} >= folders


def program(words: str) -> list[str]:
    return [sys.executable, "-c", words]


def test_what_the_others_print_comes_after_the_first_and_their_statuses_are_told() -> None:
    words = (
        "from coldchain.testing.layers import run_beside\n"
        "import sys\n"
        "one = [sys.executable, '-c', 'import sys; sys.stdin.readline(); print(1, flush=True); sys.exit(3)']\n"
        "print(run_beside([one, [sys.executable, '-c', 'print(2)']]))\n"
    )
    result = subprocess.run(program(words), input="go\n", capture_output=True, text=True, check=True)
    assert result.stdout == "1\n2\n[3, 0]\n"


def test_who_interrupts_the_first_ends_the_others() -> None:
    interrupted = program("import signal, os; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)")
    assert run_beside([interrupted, ["sleep", "1000"]]) == [130, 128 + signal.SIGTERM]


def test_who_is_ended_ends_all() -> None:
    words = (
        "from coldchain.testing.layers import run_beside\n"
        "print(run_beside([['sh', '-c', 'echo ready; exec sleep 1000'], ['sleep', '1000']]))\n"
    )
    with subprocess.Popen(program(words), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        try:
            assert process.communicate(timeout=60)[0] == "[143, 143]\n"
        finally:
            process.kill()
