"""programs: the machine's own programs (nft, conntrack, iptables), run to their end."""

import asyncio
from collections.abc import Sequence

from coldchain.model.errors import Rejected, Unavailable

PATIENCE_SECONDS = 30.0


async def output_of(command: Sequence[str], given: str = "") -> str:
    """What it writes. Raises Rejected with its own words where it fails, Unavailable where it cannot be run."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        todo = f"Install {command[0]}; `coldchain network doctor` says what else is missing."
        raise Unavailable(f"{command[0]} cannot be run: {error}", todo=todo) from error
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, errors = await process.communicate(given.encode())
    except TimeoutError:
        raise Unavailable(f"{command[0]} has not ended within {PATIENCE_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = errors.decode(errors="replace").strip().splitlines()
        raise Rejected(f"{command[0]}: {words[0] if words else f'ended with {process.returncode}'}")
    return output.decode(errors="replace")
