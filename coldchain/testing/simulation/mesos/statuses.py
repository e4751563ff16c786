"""statuses: what agents say of tasks, as a scheduler gets it."""

from typing import Any

from coldchain.clients.mesos.events import Identity, Status


def status_of(status: dict[str, Any], agent_id: str) -> Status:
    return Status(
        task_id=Identity(value=status["task_id"]["value"]),
        state=status["state"],
        message=status.get("message", ""),
        source=status["source"],
        reason=status.get("reason", ""),
        data=status.get("data", ""),
        agent_id=Identity(value=agent_id),
        timestamp=status.get("timestamp"),
        uuid=status["uuid"],
    )
