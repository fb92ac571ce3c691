"""Which stored format is written, and the step to the next one: in PostgreSQL, and published in the live store.

A build reads several formats and can write each of them (`balances/structs/blob.py`). Written is the one that
PostgreSQL says. The next one is announced first: whoever does not read it gives up its fence at its next check, and may
not join. Then it is written. Both are published in one value, which every process reads within its fence check.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from balances import keys
from balances.structs.blob import READS


class Reads(NamedTuple):
    """The stored formats that a build, or all processes of a host, can read: from the oldest to the newest."""

    oldest: int
    newest: int

    def has(self, stored: int) -> bool:
        return self.oldest <= stored <= self.newest


OURS: Final = Reads(READS[0], READS[-1])
"""What this build reads."""

FIRST: Final = 2
"""What is written where nothing is published: by the builds that published nothing."""

PRICED: Final = 3
"""From this one on buckets may have a price (charging.md 22): a process that does not read it would give it away."""


class StoredFormat(NamedTuple):
    """What PostgreSQL says."""

    written: int
    announced: int
    """The next one; `written` where none is announced."""

    @property
    def published(self) -> str:
        """As it stands under keys.FORMAT."""
        return f"{self.written} {self.announced}"

    @classmethod
    def of(cls, published: bytes | None) -> StoredFormat:
        """The inverse of `published`."""
        if published is None:
            return cls(FIRST, FIRST)
        written, _, announced = published.partition(b" ")
        return cls(int(written), int(announced))


def refusal_of(reads: Reads, written: int, announced: int | None) -> str:
    """Why a build that reads these may not work on a store, "" where it may."""
    wanted = written if announced is None else announced
    if reads.has(written) and reads.has(wanted):
        return ""
    what = f"is stored in format {written}" if not reads.has(written) else f"is about to be stored in format {wanted}"
    hint = (
        "start a newer version" if wanted > reads.newest else "start an older version first, which brings it up to date"
    )
    return f"this store {what}; this version reads formats {reads.oldest} to {reads.newest}: {hint}"


async def stored_format(pool: Any) -> StoredFormat:
    row = await pool.fetchrow("SELECT format, next_format FROM store")
    return StoredFormat(row["format"], row["next_format"] or row["format"])


async def publish(redis: Any, stored: StoredFormat) -> None:
    """Tell whoever works on the live store; also after it was emptied, or came back older."""
    if await redis.get(keys.FORMAT) != stored.published.encode():
        await redis.set(keys.FORMAT, stored.published)
