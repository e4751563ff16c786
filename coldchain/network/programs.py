"""programs: the machine's own programs (nft, conntrack, iptables, ip, bird), run to their end."""

import asyncio
from collections.abc import Sequence

from coldchain.model.errors import Rejected, Unavailable

PATIENCE_SECONDS = 30.0


async def output_of(command: Sequence[str], given: str = "") -> str:
    """What it writes. Raises Rejected with its own words where it fails, Unavailable where it cannot be run."""
    status, output, errors = await run(command, given)
    if status:
        words = errors.strip().splitlines()
        raise Rejected(f"{command[0]}: {words[0] if words else f'ended with {status}'}")
    return output


async def run(command: Sequence[str], given: str = "") -> tuple[int, str, str]:
    """Its exit status, output and errors. It is killed where nobody waits for it any more. Raises Unavailable where it
    cannot be run, or does not end."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await _run(command, given)
    except TimeoutError:
        raise Unavailable(f"{command[0]} has not ended within {PATIENCE_SECONDS:g} s") from None
    except OSError as error:
        todo = f"Install {command[0]}; `coldchain network doctor` says what else is missing."
        raise Unavailable(f"{command[0]} cannot be run: {error}", todo=todo) from error


async def _run(command: Sequence[str], given: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")
