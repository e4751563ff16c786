"""The scheduler's event stream of each fault, kept in a file.

`python -m coldchain.testing.mesos.recording FOLDER [FAULT…]` makes the files anew: lines of JSON, one for each event,
with the seconds since the first (`at`). They are for replays without Mesos; a contract test holds them to what it says
today.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coldchain.testing.mesos.bare_scheduler import BareScheduler
from coldchain.testing.mesos.faults import FAULTS, QUICK_MASTER
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.surroundings import EXECUTOR

UNTOLD = ("OFFERS", "HEARTBEAT", "RESCIND", "RESCIND_INVERSE_OFFER", "FAILURE")
"""Events whose number is chance; that of FAILURE is so when a machine was killed."""


async def play(fault: str) -> list[dict[str, Any]]:
    """The events of one fault, as lines of a file have them; in a lab of its own with one agent."""
    one = FAULTS[fault]
    async with MesosLab(zookeeper=one.masters > 1) as lab:
        for _ in range(one.masters):
            await lab.start_master(QUICK_MASTER)
        await lab.start_agent(one.agent)
        await lab.registered(1)
        async with BareScheduler(lab, failover_seconds=one.failover_seconds) as scheduler:
            await one.play(lab, scheduler)
            times, events = list(scheduler.times), list(scheduler.events)
    return [
        {"at": round(at - times[0], 3), "event": event} for at, event in zip(times[: len(events)], events, strict=True)
    ]


def summary(lines: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """What a stream says, without what is chance: identities, times, offers, and updates that repeat.

    For each task the updates in their order, and beside them which kinds of other events there were.
    """
    found: dict[str, list[str]] = {"": []}
    for line in lines:
        event = line["event"]
        if event["type"] in UNTOLD:
            continue
        task, words = "", event["type"]
        if event["type"] == "UPDATE":
            status = event["update"]["status"]
            task = status["task_id"]["value"]
            words = " ".join((status["state"], status["source"], status.get("reason", ""))).strip()
        said = found.setdefault(task, [])
        if words not in (said if task == "" else said[-1:]):
            said.append(words)
    return found | {"": sorted(found[""])}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m coldchain.testing.mesos.recording", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], default=[])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for fault in options.faults or FAULTS:
        lines = await play(fault)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        for path, name in ((str(EXECUTOR), "executor.py"), (sys.executable, "python3")):
            text = text.replace(path, name)  # Mesos repeats the command of an executor that it refuses
        (options.folder / f"{fault}.jsonl").write_text(text)
        print(fault, summary(lines), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
