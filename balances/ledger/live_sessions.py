"""Sessions of all accounts, in the order in which supervision looks at them: the soonest due first, which are those
that hold for longest without a report. A page costs a bounded number of reads, however many sessions there are.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Collection
from typing import Final, NamedTuple

from balances import keys
from balances.ledger.reader import Client
from balances.packing import ACCOUNT_FIELD, unpack_account, unpack_session
from balances.structs.account import Account
from balances.structs.session import Session

CHUNK: Final = 8
"""Members read of a shard at a time."""
READ_AT_ONCE: Final = 100


class Place(NamedTuple):
    """Where a session stands in the order."""

    due_ms: int
    member: str
    """See keys.due_member."""


START: Final = Place(0, "")


class FoundSession(NamedTuple):
    place: Place
    account: Account
    session: Session


async def by_due(
    redis: Client, after: Place, shards: Collection[int] = range(keys.SHARDS)
) -> AsyncIterator[FoundSession]:
    """Those behind a place. What changes meanwhile may be met twice or not at all. redis: has these shards"""
    batch: list[Place] = []
    async for place in _places(redis, after, shards):
        batch.append(place)
        if len(batch) >= READ_AT_ONCE:
            for found in await _read(redis, batch):
                yield found
            batch = []
    for found in await _read(redis, batch):
        yield found


async def _places(redis: Client, after: Place, all_of: Collection[int]) -> AsyncIterator[Place]:
    """The shards merged: of each a chunk at a time, the next one when it is used up."""
    waiting: list[tuple[Place, int]] = []
    left: dict[int, int] = {}
    last: dict[int, Place] = dict.fromkeys(all_of, after)

    async def fill(shards: list[int]) -> None:
        pipe = redis.pipeline(transaction=False)
        for shard in shards:
            pipe.zrange(keys.due(shard), last[shard].due_ms, "+inf", byscore=True, offset=0, num=CHUNK, withscores=True)
        for shard, members in zip(shards, await pipe.execute(), strict=True):
            found = [Place(int(score), member.decode()) for member, score in members]
            await widen(shard, found)

    async def widen(shard: int, found: list[Place]) -> None:
        """Of one instant there may be more members than a chunk holds: read on until there is one that is new."""
        offset = len(found)
        new = [place for place in found if place > last[shard]]
        while not new and offset and offset % CHUNK == 0:
            more = await redis.zrange(
                keys.due(shard), last[shard].due_ms, "+inf", byscore=True, offset=offset, num=CHUNK, withscores=True
            )
            if not more:
                break
            offset += len(more)
            new = [place for member, score in more if (place := Place(int(score), member.decode())) > last[shard]]
        left[shard] = len(new)
        for place in new:
            heapq.heappush(waiting, (place, shard))
        if new:
            last[shard] = new[-1]

    await fill(list(all_of))
    while waiting:
        place, shard = heapq.heappop(waiting)
        left[shard] -= 1
        if not left[shard]:
            await fill([shard])
        if keys.due_parts(place.member)[1]:  # the others are accounts, whose buckets are due
            yield place


async def _read(redis: Client, places: list[Place]) -> list[FoundSession]:
    if not places:
        return []
    pipe = redis.pipeline(transaction=False)
    for place in places:
        account, session = keys.due_parts(place.member)
        pipe.hmget(keys.account(account), ACCOUNT_FIELD, session)
    return [
        FoundSession(place, unpack_account(account), unpack_session(session))
        for place, (account, session) in zip(places, await pipe.execute(), strict=True)
        if account is not None and session is not None
    ]
