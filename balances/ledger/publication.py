"""Tells workers which shards are open: the keys that they check their passes against (durability.md rules 4 and 5d).

Each shard has its own, under its tag: it moves with the shard, and where it arrives it names another server's history
than the one it is in, so the shard is shut there until it is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from balances import keys
from balances.ledger.reader import ELSEWHERE, send
from balances.redis.primaries import ALL, Primary

_DISOWN: Final = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return 1
"""

_PUBLISH: Final = """#!lua flags=allow-oom
local there = redis.call('GET', KEYS[1])
local epoch = there and tonumber(string.match(there, ' (%d+)$')) or 0
if epoch >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
return 1
"""
"""Only a newer epoch replaces an older one. No function of the library: a full store can be opened that lacks that."""


async def publish(primary: Primary, shards: Collection[int], replid: str, epoch: int) -> bool:
    """Publish these shards of the server; returns whether all were older. On a plain store they change together."""
    commands: list[Any] = [["EVAL", _PUBLISH, 1, name, replid, epoch] for name in _names(primary, shards)]
    return all(await _all_of(primary, commands))


async def disown(primary: Primary, published: Mapping[int, bytes]) -> None:
    """Take back what was published of other histories, unless it has changed: a shard that comes back to the server it
    left must not be taken for open there because that server is still in the history of then."""
    commands = [
        ["EVAL", _DISOWN, 1, keys.published(shard), value, b"- " + value.partition(b" ")[2]]
        for shard, value in published.items()
    ]
    await send(primary.client, commands, kept=ELSEWHERE)


async def void(primary: Primary) -> None:
    """No pass over this server is worth anything until its shards are published again."""
    await _all_of(primary, [["DEL", name] for name in _names(primary, primary.shards)])


def _names(primary: Primary, shards: Collection[int]) -> list[str]:
    names = [keys.published(shard) for shard in sorted(shards)]
    return [*names, keys.PUBLISHED] if not primary.clustered and len(shards) == len(ALL) else names


async def _all_of(primary: Primary, commands: list[Any]) -> list[Any]:
    if primary.clustered:
        return await send(primary.client, commands)
    replies: list[Any] = (await send(primary.client, [["MULTI"], *commands, ["EXEC"]]))[-1]
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
