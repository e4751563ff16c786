"""Docker's account of a container → TaskStatistics. Nothing here waits or asks."""

from collections.abc import Mapping
from typing import Any

from coldchain.model.task import TaskStatistics

NANOSECONDS = 1e9
CACHES = ("total_inactive_file", "inactive_file")
"""The part of the file cache that goes first when memory is short, by version of cgroups."""


def of_account(document: Mapping[str, Any], task_id: str, at: float) -> TaskStatistics:
    """Of a container that runs; one that does not uses nothing."""
    memory = document.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = next((details[name] for name in CACHES if name in details), 0)
    return TaskStatistics(
        task_id=task_id,
        at=at,
        cpu_seconds=document["cpu_stats"]["cpu_usage"]["total_usage"] / NANOSECONDS,
        memory_bytes=max(0, memory.get("usage", 0) - cache),
        processes=(document.get("pids_stats") or {}).get("current", 0),
    )
