"""Which libraries of functions a server has (scripts.py), who uses them, and when one goes.

A library is loaded when it is missing, never replaced: its name says what is in it. A process that uses one says so
again and again, and one that nobody has named for KEPT_MS is deleted. Nothing depends on that: a function that is not
found has changed nothing, so it is loaded again and called again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from balances import keys
from balances.redis.primaries import Primary
from balances.redis.scripts import FAMILY, LIBRARY, Library

SAY_S: Final = 60
"""How often a connection says which library it uses (connection.py)."""

LATELY_S: Final = 3 * SAY_S
"""Who has not named a library for this long does not use it any more."""

KEPT_MS: Final = 60 * SAY_S * 1_000
"""How long a library is kept that nobody uses. Long enough for a version that is gone back to at once."""


def look_for(library: Library) -> tuple[str, str, str, str]:
    """Answered with an empty list where the server lacks it. Asked first: a full server refuses every loading."""
    return "FUNCTION", "LIST", "LIBRARYNAME", library.name


async def load(redis: Any) -> None:
    """Our library, if the server lacks it. Only after its history was proved (durability.md rule 4)."""
    if await redis.execute_command(*look_for(LIBRARY)):
        return
    try:
        await redis.function_load(LIBRARY.text)
    except ResponseError as why:
        if not is_there(why):
            raise


async def call(redis: Any, name: str, names: Sequence[str], *arguments: str) -> list[bytes]:
    """A function of ours, elsewhere than on the hot path (connection.py)."""
    words = (LIBRARY.functions[name], len(names), *names, *arguments)
    try:
        reply: list[bytes] = await redis.fcall(*words)
    except ResponseError as why:
        if not is_missing(why):
            raise
        await load(redis)
        reply = await redis.fcall(*words)
    return reply


def is_there(error: Exception) -> bool:
    """The answer to FUNCTION LOAD where somebody else was faster."""
    return "already exists" in str(error)


def is_missing(error: Exception) -> bool:
    """The answer to FCALL where the library is not loaded."""
    return "Function not found" in str(error)


async def drop_unused(redis: Any, primaries: Iterable[Primary], registered: Collection[str] = ()) -> list[str]:
    """Delete our libraries that nobody uses from these servers; returns their names. A store that takes no more names
    because it is full does not know who uses what: then nothing is deleted.
    redis:       where the names are
    registered:  those that hosts use (ocs/stores/hosts.py)"""
    seconds, _ = await redis.time()
    now_ms = int(seconds) * 1_000
    await redis.zadd(keys.LIBRARIES, {LIBRARY.name: now_ms}, gt=True)
    await redis.zremrangebyscore(keys.LIBRARIES, "-inf", now_ms - KEPT_MS)
    used = {name.decode() for name in await redis.zrange(keys.LIBRARIES, 0, -1)}
    return await drop_all_but(primaries, {*used, *registered})


async def named_lately(redis: Any) -> set[str]:
    """Libraries that somebody said to use within the last beats, registered or not."""
    seconds, _ = await redis.time()
    after_ms = (int(seconds) - LATELY_S) * 1_000
    return {name.decode() for name in await redis.zrangebyscore(keys.LIBRARIES, after_ms, "+inf")}


async def drop_all_but(primaries: Iterable[Primary], kept: Collection[str]) -> list[str]:
    """Delete our libraries but these; returns their names. Who still uses one finds that it is gone, and asks anew
    whether it may be loaded."""
    gone: list[str] = []
    for primary in primaries:
        unused = [name for name in await _loaded(primary.client) if name not in kept]
        for name in unused:
            try:
                await primary.client.function_delete(name)
            except ResponseError as why:  # another keeper was faster
                if "not found" not in str(why):
                    raise
        gone += unused
    return gone


async def _loaded(redis: Any) -> list[str]:
    """RESP2: each library as name, value, name, value ..."""
    listed = await redis.execute_command("FUNCTION", "LIST", "LIBRARYNAME", f"{FAMILY}*")
    facts = (dict(zip(one[::2], one[1::2], strict=True)) for one in listed)
    return [fact[b"library_name"].decode() for fact in facts]
