"""migrate_store: the command `coldchain store migrate`: from a file to etcd, or back."""

import asyncio
import contextlib
from collections.abc import Sequence

from coldchain.cli.errors import CommandError, Invalid
from coldchain.cli.language import _
from coldchain.cli.output import say, write_json
from coldchain.control.store_move import Moved, move
from coldchain.main.stores import EtcdAccess, open_any, open_source
from coldchain.model.errors import ColdchainError, InvalidDocument
from coldchain.store.etcd import EtcdStore

TOLD_SHARE = 0.1
"""After each further tenth it is said how far it is."""


async def migrate_store(source: str, target: str, access: EtcdAccess, *, as_json: bool) -> None:
    """Raises CommandError."""
    if source == target:
        raise Invalid(_("both are the same store"))
    try:
        moved = await _migrate(source, target, access)
    except InvalidDocument as error:
        raise Invalid(str(error)) from error
    except ColdchainError as error:
        raise CommandError(error.message, todo=error.todo) from error
    if as_json:
        write_json({"from": source, "to": target, "keys": moved.keys, "already": moved.already})
    elif moved.already:
        say(_("everything is in {target} already", target=target))
    else:
        done = {"number": moved.keys, "source": source, "target": target}
        say(_("{number} keys are in {target}; {source} is of no use any more", **done))


async def _migrate(source_name: str, target_name: str, access: EtcdAccess) -> Moved:
    async with contextlib.AsyncExitStack() as closing:
        source = await asyncio.to_thread(open_source, source_name, access, "FROM")
        closing.push_async_callback(source.close)
        target = await asyncio.to_thread(open_any, target_name, access, "TO")
        closing.push_async_callback(target.close)

        async def holders() -> Sequence[str]:
            # A file that could be opened is open nowhere else.
            return await source.leased() if isinstance(source, EtcdStore) else ()

        told = 0.0

        def progress(done: int, all_of_them: int) -> None:
            nonlocal told
            if done >= told * all_of_them and done < all_of_them:
                say(_("{done} of {number} keys", done=done, number=all_of_them))
                told = done / all_of_them + TOLD_SHARE

        return await move(source, source_name, target, target_name, holders=holders, progress=progress)
