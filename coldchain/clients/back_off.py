"""back_off: how long who got no answer waits before he asks again, so that many who lost the same server at one moment
do not come back to it at one moment."""

import hashlib

FIRST_SECONDS, LAST_SECONDS = 0.5, 30.0
SPREAD = 0.5
"""The share of the delay over which they are spread."""


def back_off_seconds(who: str, attempt: int) -> float:
    """`attempt`: how often he got no answer before. It doubles, up to a limit; how much less of it he waits is made of
    his name and the attempt, so that two who fell together once do not the next time."""
    longest = min(LAST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 32))
    digest = hashlib.blake2b(f"{attempt} {who}".encode(errors="replace"), digest_size=4).digest()
    share = int.from_bytes(digest, "big") / 2**32
    return longest * (1 - SPREAD * share)
