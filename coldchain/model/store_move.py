"""The mark of a store whose content goes, or went, to another one."""

from typing import Literal

from coldchain.model.base import Noun


class StoreMove(Noun, frozen=True, kw_only=True):
    """While it stands in a store, no platform may use it: its content is to be had from `store`, or has not come from
    there entirely."""

    direction: Literal["to", "from"]
    store: str
