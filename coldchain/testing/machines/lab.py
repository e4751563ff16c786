"""lab: machines by a plan, up when the context manager is entered, and nothing left of them afterwards."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coldchain.model.errors import Conflict, Unavailable
from coldchain.testing.machines.machine import Machine, call, environment
from coldchain.testing.machines.plan import FLAT, OUTSIDE, Plan
from coldchain.testing.machines.switch import Switch
from coldchain.testing.sandbox import cgroups, inside


class MachineLab:
    """`lab["machine-1"]` is a machine. `console`: the address by which the machines reach who uses the lab."""

    def __init__(self, plan: Plan = FLAT, *, docker: bool = True) -> None:
        """`docker`: start an engine where the plan has one, and wait for it."""
        if not inside():
            raise Conflict(
                "A lab of machines may be in the sandbox only", todo="Run this through bin/test, bin/demo or bin/bench"
            )
        self.plan = plan
        # The keeper makes it: who is killed before there is one leaves nothing.
        self.folder = Path(tempfile.gettempdir(), f"coldchain-machines-{secrets.token_hex(4)}")
        self.console = plan.console.address.partition("/")[0]
        self.machines = {place.name: Machine(self, place) for place in plan.places}
        self._docker = docker
        self._console_link = f"lab-{secrets.token_hex(3)}"
        self._cgroup_parent = f"{os.environ['COLDCHAIN_CGROUP_PARENT']}/{self.folder.name}"
        self._keeper: subprocess.Popen[str] | None = None

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines.values())

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def boot(self, machines: Sequence[Machine]) -> None:
        """Give them power, all at once, and connect them."""
        answer = self._order({"boot": [machine.name for machine in machines]})
        if "error" in answer:
            raise Unavailable(f"A machine does not start: {answer['error']}", todo="The words before say why")
        for machine in machines:
            machine.init = answer[machine.name]
            self.switch.connect(machine.place, machine.init)

    def power_off(self, machine: Machine) -> None:
        self.switch.disconnect(machine.place)
        machine.lost_power()
        self._order({"power_off": machine.name})

    def close(self) -> None:
        """Everything is killed and removed."""
        if self._keeper is not None:
            # At once, if it is there; with the network of the switch it would go some time later.
            subprocess.run(["ip", "link", "delete", self._console_link], env=environment(), capture_output=True)
            for machine in self:
                machine.lost_power()
            _, words = self._keeper.communicate()
            self._keeper = None
            if words:
                raise Unavailable(words.strip(), todo="It is swept with the sandbox")
        # The keeper has done it, unless it was killed, or never was.
        cgroups.remove(self._cgroup_parent)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        command = [sys.executable, "-m", "coldchain.testing.machines.keeper", str(self.folder), self._cgroup_parent]
        self._keeper = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self._answer()
        (self.folder / "hosts").write_text(self.plan.hosts)
        self.switch = Switch(self._keeper.pid, self.plan)
        self.switch.build()
        self.boot(list(self))
        self.switch.connect_console(self._console_link)
        for machine in self:
            if len(machine.place.cables) > 1:
                call(machine.entered("ip", "address", "add", f"{OUTSIDE}/32", "dev", "lo"))
        engines = [machine.docker for machine in self if machine.place.docker and self._docker]
        for engine in engines:
            engine.start()
        for engine in engines:
            engine.ready()

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        try:
            self._keeper.stdin.write(json.dumps(order) + "\n")
            self._keeper.stdin.flush()
        except BrokenPipeError:
            raise self._keeper_ended() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        if not line:
            raise self._keeper_ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _keeper_ended(self) -> Unavailable:
        assert self._keeper is not None
        _, words = self._keeper.communicate()
        return Unavailable(f"The keeper of the lab has ended: {words.strip()}", todo="Close the lab")
