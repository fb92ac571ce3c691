"""Number of open sessions, of lines with a hold, and the money held: counted in the store itself, in the background.

Sums of changes would be those of the processes that live now: after a restart they count from nothing and go below
zero. So a walk looks at every session that is watched over (`keys.due`), one shard after the other and a bounded number
a second, and again only at shards whose stream has moved. It costs no request anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.reader import Client, send
from balances.ledger.record import START, RecordId
from balances.packing import stored_account
from balances.structs.account import Account
from balances.structs.session import Session, SessionState
from tariffs.units import Kind

SHARDS_AT_ONCE: Final = 8
AT_ONCE: Final = 100
"""Accounts in one write."""
LOOKS_MAX: Final = 2_000
"""Accounts in one walk."""

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_SESSION: Final = msgspec.msgpack.Decoder(Session)


class ShardTotals(NamedTuple):
    """Totals of one shard, as of one head of its stream."""

    head: RecordId
    sessions: int
    holds: int
    held_micro: Counter[str]
    """By currency."""


class Totals:
    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._parts: dict[int, ShardTotals] = {}
        self._next = 0
        self._sums: ShardTotals | None = None
        """Of all shards, until one of them has another part."""

    @property
    def complete(self) -> bool:
        """Whether every shard was counted; before that the sums are incomplete."""
        return len(self._parts) == keys.SHARDS

    @property
    def sessions(self) -> int:
        return self._all.sessions

    @property
    def holds(self) -> int:
        return self._all.holds

    @property
    def held_micro(self) -> Counter[str]:
        return self._all.held_micro

    @property
    def _all(self) -> ShardTotals:
        if self._sums is None:
            held = Counter[str]()
            for part in self._parts.values():
                held.update(part.held_micro)
            sessions = sum(part.sessions for part in self._parts.values())
            self._sums = ShardTotals(START, sessions, sum(part.holds for part in self._parts.values()), held)
        return self._sums

    def forget(self) -> None:
        """Forget all counts, because another keeper counts now."""
        self._parts.clear()
        self._sums = None

    async def walk(self, heads: Mapping[int, RecordId]) -> None:
        """Count the shards whose head has changed since they were counted, as many as fit."""
        order = [(self._next + step) % keys.SHARDS for step in range(keys.SHARDS)]
        moved = [shard for shard in order if shard not in self._parts or self._parts[shard].head != heads[shard]]
        looks = 0
        for start in range(0, len(moved), SHARDS_AT_ONCE):
            some = moved[start : start + SHARDS_AT_ONCE]
            if looks >= LOOKS_MAX:
                self._next = some[0]
                return
            looks += await self._look({shard: heads[shard] for shard in some})
            self._sums = None

    async def _look(self, heads: Mapping[int, RecordId]) -> int:
        """Returns how many accounts there were."""
        written = [shard for shard, head in heads.items() if head != START]
        found = await send(self._redis, [("ZRANGE", keys.due(shard), 0, -1) for shard in written])
        members = {
            shard: sorted({keys.due_parts(member.decode())[0] for member in theirs})
            for shard, theirs in zip(written, found, strict=True)
        }
        for shard, head in heads.items():
            part = ShardTotals(head, 0, 0, Counter())
            accounts = members.get(shard, [])
            for start in range(0, len(accounts), AT_ONCE):
                part = await self._counted(part, accounts[start : start + AT_ONCE])
            self._parts[shard] = part
        return len(heads) + sum(map(len, members.values()))

    async def _counted(self, part: ShardTotals, accounts: Sequence[str]) -> ShardTotals:
        """With these accounts of one shard."""
        sessions, holds, held = part.sessions, part.holds, part.held_micro
        for fields in await send(self._redis, [("HGETALL", keys.account(one)) for one in accounts]):
            stored = stored_account(fields)
            if stored.account is None:
                continue
            one = _ACCOUNT.decode(stored.account)
            held[one.currency] += sum(bucket.held for bucket in one.buckets if bucket.kind == Kind.MONEY)
            for session in map(_SESSION.decode, stored.sessions.values()):
                sessions += session.state == SessionState.OPEN
                holds += sum(1 for line in session.lines if line.due_ms)
        return part._replace(sessions=sessions, holds=holds)
