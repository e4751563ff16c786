"""engines/executor/claims: who answers for which task of a machine, on its disk."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from coldchain.control.clock import SystemClock
from coldchain.decisions.orphan import SWEEPER, Claim
from coldchain.documents.stored import UnreadableDocument
from coldchain.engines.executor.claims import Claims
from coldchain.engines.executor.sweeper import Sweeper
from coldchain.model.executor import ExecutorSettings
from coldchain.model.task import TaskStatus

SETTINGS = ExecutorSettings(controller_id="c", version="1", token="t")
NAMES = ["coldchain-1:1f-2e", "..", "a/b", "ж"]


def test_an_executor_lives_until_it_is_closed_and_nobody_else_says_so(tmp_path: Path) -> None:
    claims = [Claims(tmp_path) for _ in NAMES]
    for one, name in zip(claims, NAMES, strict=True):
        one.live_as(name)
    assert claims[0].living() == frozenset(NAMES)
    claims[1].close()
    assert Claims(tmp_path).living() == frozenset(NAMES) - {".."}
    for one in claims:
        one.close()
    assert Claims(tmp_path).living() == frozenset()
    assert list((tmp_path / "executors").iterdir()) == []


LIVES_AND_DIES = """
import os, pathlib, sys
from coldchain.control.clock import SystemClock
from coldchain.engines.executor.claims import Claims
claims = Claims(pathlib.Path(sys.argv[1]))
claims.live_as("e1")
claims.take("shop.1", "e1")
print(*claims.living(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_an_executor_dies_with_its_process(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", LIVES_AND_DIES, str(tmp_path)], stdout=subprocess.PIPE, check=False)
    assert (died.stdout, died.returncode) == (b"e1\n", -9)
    claims = Claims(tmp_path)
    assert claims.all() == {"shop.1": Claim(holder="e1")}
    assert claims.living() == frozenset()
    assert claims.take("shop.1", "e2") == ""


def test_one_answers_for_a_task_and_the_next_after_its_end(tmp_path: Path) -> None:
    first, second = Claims(tmp_path), Claims(tmp_path)
    first.live_as("e1")
    second.live_as("e2")
    assert first.take("shop/../1", "e1") == ""
    assert first.take("shop/../1", "e1") == ""
    assert second.take("shop/../1", "e2") == "executor e1 answers for it"
    assert second.take("shop/../1", SWEEPER) == "executor e1 answers for it"
    assert second.all() == {"shop/../1": Claim(holder="e1")}
    second.release("shop/../1", "e2")
    assert second.all() == {"shop/../1": Claim(holder="e1")}
    first.close()
    assert second.take("shop/../1", "e2") == ""
    second.release("shop/../1", "e2")
    assert second.all() == {}


def test_what_is_being_ended_does_not_come_back(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.live_as("e1")
    assert claims.take("shop.1", SWEEPER) == ""
    assert claims.take("shop.1", "e1") == "nobody answered for it, so it is being ended"
    claims.clear({"shop.1"})
    assert claims.all() == {"shop.1": Claim(holder=SWEEPER)}
    claims.clear(set())
    assert claims.all() == {}


def test_claims_of_the_living_stay_when_their_task_is_not_there_yet(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.live_as("e1")
    claims.take("shop.1", "e1")
    claims.clear(set())
    assert claims.all() == {"shop.1": Claim(holder="e1")}


class Slow:
    """A runner. While it forgets what is over, another executor comes and starts a task."""

    def __init__(self, newcomer: Claims) -> None:
        self._newcomer = newcomer

    async def forget(self, task_id: str) -> None:
        self._newcomer.live_as("e2")
        self._newcomer.take("shop.2", "e2")


async def test_who_comes_while_it_is_swept_answers_for_his_task(tmp_path: Path) -> None:
    claims, newcomer = Claims(tmp_path), Claims(tmp_path)
    claims.take("shop.1", SWEEPER)
    runner: Any = Slow(newcomer)
    over = TaskStatus(
        task_id="shop.1", instance_id="1", app_id="/shop", target="", agent="a", state="failed", at=1.0, exit_status=1
    )
    await Sweeper(runner, claims, SETTINGS, SystemClock()).sweep([over])
    assert claims.all()["shop.2"] == Claim(holder="e2")


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    everybody = [Claims(tmp_path) for _ in range(8)]
    for number, one in enumerate(everybody):
        one.live_as(f"e{number}")
    answers: list[str] = []
    start = threading.Barrier(len(everybody))

    def take(number: int) -> None:
        start.wait()
        answers.append(everybody[number].take("shop.1", f"e{number}"))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(len(everybody))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count("") == 1


def test_of_two_sweepers_one_sweeps(tmp_path: Path) -> None:
    first, second = Claims(tmp_path), Claims(tmp_path)
    assert first.sweep_alone()
    assert not second.sweep_alone()
    first.close()
    assert second.sweep_alone()


def test_settings_stay_without_the_token(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="is not the folder of an executor"):
        Claims(tmp_path).settings()
    Claims(tmp_path).keep_settings(SETTINGS)
    kept = Claims(tmp_path).settings()
    assert (kept.controller_id, kept.token) == ("c", "")
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600
