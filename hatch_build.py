"""Compiles the catalogues of messages while the wheel is built, and for a checkout that is installed in place."""

from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def compile_catalogues(folder: Path, to: Path | None = None) -> None:
    """Write a `.mo` for each `.po` below the folder: beside it, or at the same place below `to`."""
    for source in sorted(folder.rglob("*.po")):
        with source.open("rb") as opened:
            catalogue = read_po(opened, abort_invalid=True)
        compiled = (to or folder) / source.relative_to(folder).with_suffix(".mo")
        compiled.parent.mkdir(parents=True, exist_ok=True)
        with compiled.open("wb") as opened:
            write_mo(opened, catalogue)


class CompileCatalogues(BuildHookInterface[Any]):
    """What hatchling calls."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compile_catalogues(Path(self.root) / "coldchain" / "cli" / "locale")
