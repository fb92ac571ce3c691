"""Number of open sessions, of lines with a hold, and the money held: counted in the store itself, in the background.

Sums of changes would be those of the processes that live now: after a restart they count from nothing and go below
zero. So a walk looks at every session that is watched over (`keys.due`), one shard after the other and a bounded number
a second, and again only at shards whose stream has moved. It costs no request anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.reader import Client
from balances.ledger.record import START, RecordId
from balances.structs.account import Account
from balances.structs.session import Session, SessionState
from tariffs.units import Kind

AT_ONCE: Final = 100
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
        looks = 0
        for shard in [(self._next + step) % keys.SHARDS for step in range(keys.SHARDS)]:
            known, head = self._parts.get(shard), heads[shard]
            if known is not None and known.head == head:
                continue
            self._sums = None
            if looks >= LOOKS_MAX:
                self._next = shard
                return
            if head == START:
                self._parts[shard] = ShardTotals(head, 0, 0, Counter())
                continue
            looks += await self._look(shard, head)

    async def _look(self, shard: int, head: RecordId) -> int:
        members = await self._redis.zrange(keys.due(shard), 0, -1)
        accounts = sorted({keys.due_parts(member.decode())[0] for member in members})
        sessions, holds, held = 0, 0, Counter[str]()
        for start in range(0, len(accounts), AT_ONCE):
            pipe = self._redis.pipeline(transaction=True)  # an account and its sessions as of one instant
            some = accounts[start : start + AT_ONCE]
            for account in some:
                pipe.get(keys.account(account))
                pipe.hvals(keys.sessions(account))
            replies = await pipe.execute()
            for packed, states in zip(replies[::2], replies[1::2], strict=True):
                if packed is None:
                    continue
                one = _ACCOUNT.decode(packed)
                held[one.currency] += sum(bucket.held for bucket in one.buckets if bucket.kind == Kind.MONEY)
                for session in map(_SESSION.decode, states):
                    sessions += session.state == SessionState.OPEN
                    holds += sum(1 for line in session.lines if line.due_ms)
        self._parts[shard] = ShardTotals(head, sessions, holds, held)
        return len(accounts) + 1
