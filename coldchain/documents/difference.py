"""difference: what changes between two documents, place by place."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from coldchain.model.base import Noun


class Difference(Noun, frozen=True, kw_only=True):
    """One place (a JSON pointer, "" is the whole document) where two documents differ. `old` None where it is added,
    `new` None where it is removed."""

    path: str
    kind: Literal["added", "removed", "changed"]
    old: Any = None
    new: Any = None


def difference(old: Any, new: Any, path: str = "") -> tuple[Difference, ...]:
    """All places where `new`, a document as JSON has it, differs from `old`; none if and only if they are equal.

    Carried out in their order they make `new` of `old`: what is removed from a list goes from its end.
    """
    return tuple(_differences(old, new, path))


def _differences(old: Any, new: Any, path: str) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _of_members(old, new, path)
    elif _is_list(old) and _is_list(new):
        yield from _of_items(old, new, path)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        # Python takes true for 1, JSON does not.
        yield Difference(path=path, kind="changed", old=old, new=new)


def _of_members(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Difference]:
    for name in sorted({*old, *new}):
        place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in new:
            yield Difference(path=place, kind="removed", old=old[name])
        elif name not in old:
            yield Difference(path=place, kind="added", new=new[name])
        else:
            yield from _differences(old[name], new[name], place)


def _of_items(old: Sequence[Any], new: Sequence[Any], path: str) -> Iterator[Difference]:
    for index, (before, after) in enumerate(zip(old, new, strict=False)):
        yield from _differences(before, after, f"{path}/{index}")
    for index in range(len(old), len(new)):
        yield Difference(path=f"{path}/{index}", kind="added", new=new[index])
    for index in reversed(range(len(new), len(old))):
        yield Difference(path=f"{path}/{index}", kind="removed", old=old[index])


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
