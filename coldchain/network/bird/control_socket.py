"""control_socket: asks a running BIRD over its control socket, as birdc does, and reads what `show protocols` says."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coldchain.model.errors import Unavailable

ANSWER_SECONDS = 5.0
WELCOME = 1
PROTOCOLS = 1002
BFD_SESSIONS = 1020
BFD_STATES = ("AdminDown", "Down", "Init", "Up")
_CODE_LENGTH = 4


@dataclass(frozen=True)
class Line:
    """A line of an answer. `code`: what it is about; of 8000 and above: an error."""

    code: int
    text: str


async def ask(socket: Path, command: str) -> Sequence[Line]:
    """The whole answer to one command. Raises Unavailable when nobody answers in time."""
    writer = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            await _answer(reader)
            writer.write(f"{command}\n".encode())
            return await _answer(reader)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        words = str(error) or f"no answer in {ANSWER_SECONDS:g} s"
        raise Unavailable(
            f"BIRD does not answer at {socket}: {words}", todo="netd starts it again if it has ended; see its log"
        ) from error
    finally:
        if writer is not None:
            writer.close()


def refusal(lines: Sequence[Line]) -> str:
    """What it says against a command; empty: nothing."""
    return "; ".join(one.text for one in lines if one.code >= 8000)


def session_states(lines: Sequence[Line]) -> dict[str, str]:
    """By name, of the answer to `show protocols`: how the sessions of BGP stand: `Established`, or why not. One that
    is established in BGP and still waits for its routes is not `up`."""
    found = {}
    for line in lines:
        fields = line.text.split(maxsplit=5)
        if line.code == PROTOCOLS and len(fields) >= 5 and fields[1] == "BGP":
            name, _, _, state, since, *rest = fields
            words = rest[0].strip() if rest else ""
            if words and ":" in words.split()[0] and "-" in since:  # older ones say the day and the time apart
                words = words.partition(" ")[2].strip()
            found[name] = words or state
    return found


def heard_of(lines: Sequence[Line]) -> dict[str, bool]:
    """By address, of the answer to `show bfd sessions`: whether the session is up."""
    found = {}
    for line in lines:
        fields = line.text.split()
        if line.code == BFD_SESSIONS and len(fields) >= 3 and fields[0][:1].isalnum() and fields[2] in BFD_STATES:
            found[fields[0]] = fields[2] == "Up"
    return found


async def _answer(reader: asyncio.StreamReader) -> list[Line]:
    """Each line begins with a code and `-` while there are more, or with a blank where the code is that before."""
    found: list[Line] = []
    while True:
        raw = await reader.readline()
        if not raw.endswith(b"\n"):
            raise ValueError("it hung up")
        line = raw.decode(errors="replace").rstrip("\n")
        if line[:1] in ("+", " ") and found:
            found.append(Line(found[-1].code, line[1:]))
            continue
        code, mark, text = line[:_CODE_LENGTH], line[_CODE_LENGTH : _CODE_LENGTH + 1], line[_CODE_LENGTH + 1 :]
        if not code.isdigit() or mark not in ("-", " "):
            raise ValueError(f"it says {line[:80]!r}")
        found.append(Line(int(code), text))
        if mark == " ":
            return found
