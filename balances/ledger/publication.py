"""Tells workers which shards are open: the keys that they check their passes against (durability.md rules 4 and 5d).

Each shard has its own, under its tag: it moves with the shard, and where it arrives it names another server's history
than the one it is in, so the shard is shut there until it is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from balances import keys
from balances.ledger.reader import ELSEWHERE, send
from balances.redis.primaries import ALL, Primary

_DISOWN: Final = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return 1
"""

_PUBLISH: Final = """#!lua flags=allow-oom
local older = 1
for _, name in ipairs(KEYS) do
  local there = redis.call('GET', name)
  local epoch = there and tonumber(string.match(there, ' (%d+)$')) or 0
  if epoch >= tonumber(ARGV[2]) then older = 0 else redis.call('SET', name, ARGV[1] .. ' ' .. ARGV[2]) end
end
return older
"""
"""Only a newer epoch replaces an older one. No function of the library: a full store can be opened that lacks that. And
no MULTI: Redis 7.0 queues nothing while it is full."""


async def publish(primary: Primary, shards: Collection[int], replid: str, epoch: int) -> bool:
    """Publish these shards of the server; returns whether all were older. On a plain store they change together."""
    together = _together(primary, shards)
    return all(
        await send(primary.client, [["EVAL", _PUBLISH, len(names), *names, replid, epoch] for names in together])
    )


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
    await send(primary.client, [["DEL", *names] for names in _together(primary, primary.shards)])


def _together(primary: Primary, shards: Collection[int]) -> list[list[str]]:
    """The keys that one command can name."""
    names = [keys.published(shard) for shard in sorted(shards)]
    if primary.clustered:
        return [[name] for name in names]
    return [[*names, keys.PUBLISHED] if len(shards) == len(ALL) else names]
