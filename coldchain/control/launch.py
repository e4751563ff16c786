"""launch: the one door through which tasks reach an engine, whatever made them: a change, a rollback, a crash."""

from collections.abc import Callable

import msgspec

from coldchain.control.secrets import Secrets, masked
from coldchain.control.state import State
from coldchain.decisions import admission
from coldchain.model.errors import ColdchainError, Rejected
from coldchain.model.task import TaskSpec
from coldchain.ports.engine import Engine


class Launcher:
    """Lets through what admission admits now, though it may have been stored under another policy; and gives tasks
    their secrets, which nothing before this door has. `registry_of`: where those on an agent who register themselves
    find the registry, as HOST:PORT."""

    def __init__(self, state: State, engine: Engine, policy: admission.Policy, secrets: Secrets) -> None:
        self.registry_of: Callable[[str], str] = lambda agent: ""
        self._state = state
        self._engine = engine
        self._policy = policy
        self._secrets = secrets

    async def launch(self, spec: TaskSpec) -> None:
        """As the engine's. Raises Rejected too for what a rule keeps out and nobody let through."""
        refused = self.refused(spec)
        if refused:
            words = "; ".join(f"{one.path}: {one}" for one in refused).removesuffix(".")
            raise Rejected(f"not admitted: {words}", todo="Correct the definition, or `deploy` it with --override.")
        app, values = self._secrets.filled(spec.app)
        try:
            await self._engine.launch(msgspec.structs.replace(spec, app=app, registry=self.registry_of(spec.agent)))
        except ColdchainError as error:
            masked(error, values)
            raise

    def refused(self, spec: TaskSpec) -> list[admission.Refusal]:
        """What of the task is not admitted. A configuration goes by its own overrides, and by those of the version that
        is wanted now if that is of the same configuration."""
        refusals = admission.judge(spec.app, self._policy)
        if not refusals:
            return []
        known, wanted = self._state.versions.get(spec.app_id, {}).get(spec.version_id), self._state.wanted(spec.app_id)
        versions = [one for one in (known, wanted) if one is not None and one.config_id == spec.version_id]
        return admission.standing(refusals, [override for one in versions for override in one.overrides])
