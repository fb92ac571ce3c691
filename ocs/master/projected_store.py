"""Where the projection writes (projection.py): one server at once, or the primaries of a cluster key by key.

A run in which a primary was replaced writes no marks: what it wrote before may be gone.

A plain store takes each part of a run as one transaction, which fails when another run has begun. In a cluster profiles
lie in all slots, so no transaction holds them:

- A profile is written by a script that leaves a newer one alone, and one that is gone leaves its number behind for a
  while, so that a run that was overtaken does no harm.
- Each shard has marks of its own: the change number up to which profiles are complete on its primary, and the one up to
  which its accounts were told. Each is written after them. A primary that loses its last writes loses the marks too;
  the smallest is where the next run begins. Workers read a profile with the mark of its primary
  (balances/redis/router.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from balances import keys
from balances.ledger.reader import send
from balances.redis.clients import is_cluster
from balances.redis.primaries import Primaries

TOLD: Final = f"{keys.PROJECTED}:told"
TOKEN: Final = f"{keys.PROJECTED}:run"
"""Number of the run that may write. A run that was overtaken finds another number and stops."""

GONE_MS: Final = 3_600_000
"""How long the number of a profile that is gone stays: longer than any run that was overtaken goes on."""

NOTHING: Final[Mapping[str, Any]] = {}

PUT: Final = """\
local there = redis.call('GET', KEYS[1])
if there then
  local number = tonumber(there)
  if not number then
    local read, profile = pcall(cmsgpack.unpack, there)
    number = read and type(profile) == 'table' and tonumber(profile[3]) or 0
  end
  if number > tonumber(ARGV[1]) then return 0 end
end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
"""
"""A profile, or "" for one that is gone, of a change number, unless there is a newer one."""


class Overtaken(Exception):
    """Another run began, so what this one has read may be old."""


class ProjectedUpTo(NamedTuple):
    """Change numbers."""

    projected: int | None
    """Up to which profiles and tariffs are complete; None: never."""
    told: int | None
    """Up to which accounts were told."""


class ProfilePut(NamedTuple):
    """A profile that changed."""

    key: str
    change: int
    packed: bytes | None
    """None: it is gone."""


class ProjectedStore(Protocol):
    async def progress(self) -> ProjectedUpTo: ...
    async def begin(self) -> None:
        """A run begins, and the one before it is over."""

    async def put(self, profiles: Sequence[ProfilePut]) -> None:
        """Raises Overtaken, and so do the others."""

    async def put_hash(self, name: str, fields: Mapping[str, bytes | int]) -> None: ...
    async def has(self, name: str) -> bool: ...
    async def complete(self, change: int) -> None: ...
    async def told(self, change: int) -> None: ...


def projected_store(redis: Any, primaries: Primaries | None) -> ProjectedStore:
    if is_cluster(redis):
        assert primaries is not None
        return SlottedStore(redis, primaries)
    return WholeStore(redis)


class WholeStore:
    """One server."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._token = 0
        self._history = ""

    async def progress(self) -> ProjectedUpTo:
        return ProjectedUpTo(*map(_number, await self._redis.mget(keys.PROJECTED, TOLD)))

    async def begin(self) -> None:
        self._history = _history(await self._redis.info("replication"))  # before: a failover in between is noticed
        self._token = int(await self._redis.incr(TOKEN))

    async def put(self, profiles: Sequence[ProfilePut]) -> None:
        here = {one.key: one.packed for one in profiles if one.packed is not None}
        await self._write(here, [one.key for one in profiles if one.packed is None])

    async def put_hash(self, name: str, fields: Mapping[str, bytes | int]) -> None:
        await self._write(hashes={name: fields})

    async def has(self, name: str) -> bool:
        return bool(await self._redis.exists(name))

    async def complete(self, change: int) -> None:
        await self._write({keys.PROJECTED: change})

    async def told(self, change: int) -> None:
        await self._write({TOLD: change})

    async def _write(
        self,
        here: Mapping[str, bytes | int] = NOTHING,
        gone: Sequence[str] = (),
        hashes: Mapping[str, Mapping[str, bytes | int]] = NOTHING,
    ) -> None:
        """Write all of it, or nothing: another run has begun; or it is another server by now, or the same one after a
        restart, and may lack what was written before."""
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(TOKEN)
            if int(await pipe.get(TOKEN) or 0) != self._token:
                raise Overtaken
            if _history(await pipe.info("replication")) != self._history:
                raise Overtaken
            pipe.multi()
            if here:
                pipe.mset(here)
            if gone:
                pipe.unlink(*gone)
            for name, fields in hashes.items():
                pipe.hset(name, mapping=fields)
            await pipe.execute()


class SlottedStore:
    """The primaries of a cluster."""

    def __init__(self, redis: Any, primaries: Primaries) -> None:
        self._redis, self._primaries = redis, primaries
        self._token = 0
        self._histories: dict[str, str] = {}

    async def progress(self) -> ProjectedUpTo:
        await self._primaries.look()
        complete: list[int | None] = [_number(await self._redis.get(keys.PROJECTED))]
        told: list[int | None] = [_number(await self._redis.get(TOLD))]
        for primary in self._primaries.all():
            shards = sorted(primary.shards)
            complete += map(_number, await send(primary.client, [["GET", keys.projected(shard)] for shard in shards]))
            marks = await send(primary.client, [["GET", keys.told(shard)] for shard in shards])
            told += [told[0] if mark is None else int(mark) for mark in marks]  # the build before wrote the one alone
        return ProjectedUpTo(_smallest(complete), _smallest(told))

    async def begin(self) -> None:
        self._token = int(await self._redis.incr(TOKEN))
        self._histories = await self._looked_at()

    async def put(self, profiles: Sequence[ProfilePut]) -> None:
        await self._mine()
        pipe = self._redis.pipeline(transaction=False)
        for one in profiles:
            pipe.eval(PUT, 1, one.key, one.change, one.packed or b"", GONE_MS)
        await pipe.execute()

    async def put_hash(self, name: str, fields: Mapping[str, bytes | int]) -> None:
        await self._mine()
        await self._redis.hset(name, mapping=fields)

    async def has(self, name: str) -> bool:
        return bool(await self._redis.exists(name))

    async def complete(self, change: int) -> None:
        await self._mark(keys.projected, keys.PROJECTED, change)

    async def told(self, change: int) -> None:
        await self._mark(keys.told, TOLD, change)

    async def _mark(self, of: Callable[[int], str], of_all: str, change: int) -> None:
        if await self._looked_at() != self._histories:
            raise Overtaken
        await self._mine()
        for primary in self._primaries.all():
            await send(primary.client, [["SET", of(shard), str(change)] for shard in primary.shards])
        await self._redis.set(of_all, change)

    async def _mine(self) -> None:
        if int(await self._redis.get(TOKEN) or 0) != self._token:
            raise Overtaken

    async def _looked_at(self) -> dict[str, str]:
        """The history of each primary, by its name."""
        await self._primaries.look()
        primaries = self._primaries.all()
        infos = await asyncio.gather(*(primary.client.info("replication") for primary in primaries))
        return {primary.name: _history(info) for primary, info in zip(primaries, infos, strict=True)}


def _history(info: Mapping[str, Any]) -> str:
    """info: what a server says of its replication"""
    return f"{info['role']} {info['master_replid']}"


def _smallest(marks: Sequence[int | None]) -> int | None:
    """Of all shards and the store; None where one is missing."""
    known = [mark for mark in marks if mark is not None]
    return min(known) if len(known) == 1 + keys.SHARDS else None


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)
