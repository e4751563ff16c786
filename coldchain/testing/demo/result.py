"""result: the sums at the end: what the clients saw, what the applications recorded, what a kill explains."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coldchain.testing.load.accounting import Kill, failed_on_killed, reconcile_records
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.report import summarize

LATENCY_MS_MAX_BEYOND_SERVICE = 2000.0
LOG_FLUSH_SECONDS = 1.5
"""The gateway writes its access log at most a second late."""


async def result(
    generator: Generator, records: Path, access_logs: Sequence[Path], kills: Sequence[Kill]
) -> dict[str, Any]:
    """The last line of the demo. To be called once the generator has stopped."""
    await asyncio.sleep(LOG_FLUSH_SECONDS)
    report = await asyncio.to_thread(generator.report)
    split = failed_on_killed(generator.outcomes, access_logs, kills)
    recorded = reconcile_records(generator.outcomes, records)
    failed_by_method = summarize("", 0, split.failed).by_method
    # What hung on an instance that was killed, hung on it until the client gave up.
    explained = {outcome.id for outcome in split.failed_on_killed}
    others = summarize("", 0, [outcome for outcome in generator.outcomes if outcome.id not in explained])
    failed_ids = {outcome.id for outcome in split.failed}
    failed_in_step = dict.fromkeys((step.name for step in report.steps), 0)
    for outcome in generator.outcomes:
        if outcome.id in failed_ids:
            failed_in_step[outcome.step] += 1
    return {
        "requests": report.sent,
        "failed": len(split.failed),
        "duplicated": len(recorded.duplicated),
        "lost": len(recorded.lost),
        "executed_unanswered": len(recorded.executed_unanswered),
        "failed_by_method": {
            method: failed_by_method[method].failed if method in failed_by_method else 0 for method in ("GET", "POST")
        },
        "failed_on_killed": len(split.failed_on_killed),
        "latency_ms_max_beyond_service": round(others.latency_ms_max_beyond_service, 1),
        "versions": {version: group.requests for version, group in report.total.by_version.items()},
        "failures": [
            {"step": one.step, "method": one.method, "mode": one.mode, "what": one.kind, "detail": one.detail}
            for one in split.failed[:20]
        ],
        "steps": [
            {
                "name": step.name,
                "seconds": round(step.seconds, 1),
                "requests": step.requests,
                "failed": failed_in_step[step.name],
                "latency_ms_p99": round(step.latency_ms_p99, 1),
                "latency_ms_p99_beyond_service": round(step.latency_ms_p99_beyond_service, 1),
            }
            for step in report.steps
        ],
    }


def good(sums: dict[str, Any]) -> bool:
    """True when every bar of the demo is met."""
    none = all(sums[name] == 0 for name in ("failed", "duplicated", "lost"))
    return none and sums["latency_ms_max_beyond_service"] <= LATENCY_MS_MAX_BEYOND_SERVICE


def in_words(sums: dict[str, Any]) -> str:
    """The sums for whoever watched."""
    text = (
        f"{sums['requests']} requests: {sums['failed']} failed, "
        f"{sums['duplicated']} executed twice, {sums['lost']} lost; "
        f"at most {sums['latency_ms_max_beyond_service']:.0f} ms beyond the service time."
    )
    if sums["failed_on_killed"]:
        text += f" {sums['failed_on_killed']} more were already in what was killed or cut off; nobody can save those."
    return text
