"""Number of open sessions, of lines with a hold, and the money held, by peer too: kept from the records that the keeper
reads.

A record carries its account and session as they are after it, so what is kept of an open session is replaced, never
added to: a record that is read twice, or one that was missed, makes no lasting difference. What was there before the
keeper came is read from the store, once, by walking over what is watched over (`keys.due`); later the walk goes on
slowly where streams have moved, and mends what no record said (sessions that were restored, until they report). It
costs no request anything, and a piece of it reads few enough sessions that no request waits for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from balances import keys
from balances.ledger.reader import send
from balances.ledger.record import START, RecordedCall, RecordId, SessionHead, session_head
from balances.packing import ACCOUNT_FIELD
from balances.redis.primaries import Primaries
from balances.structs.account import Account
from balances.structs.session import SessionState
from tariffs.units import Kind

PIECE: Final = 50
"""Members that are read in one write."""
FIRST: Final = 2_000
"""Members of one look, until all shards were counted."""
AGAIN: Final = 50
"""Members of one look afterwards."""
OPEN_MAX: Final = 1_000_000
"""Sessions that are kept in mind, 100 octets each. Where there are more, none are, and no totals given."""

PEERS_MAX: Final = 200
"""Peers that are told apart, with the currencies of their sessions; what is held for others is of OTHERS."""
OTHERS: Final = "other"

# Members of an enumeration take longer to compare than all else of a record.
_MONEY: Final = int(Kind.MONEY)
_OPEN: Final = int(SessionState.OPEN)

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)

Held = tuple[str, int]
"""Currency and micro-units."""

# What a session holds, in one number, because there may be a million of them: lines, place of its peer, micro-units.
_LINES, _PLACE = 8, 24


class ShardTotals:
    """What is open in one shard. Accounts and sessions are kept by the hash of their name."""

    __slots__ = ("held", "holds", "sessions", "verified")

    def __init__(self) -> None:
        self.sessions: set[int] = set()
        """The open ones."""
        self.holds: dict[int, int] = {}
        """Sessions with holds: lines, place of the peer and micro-units, packed."""
        self.held: dict[int, Held] = {}
        """Accounts of which money is held."""
        self.verified: RecordId | None = None
        """Head of its stream when a walk over it began that has ended; None: there was none."""


class _Walk:
    """Over one shard. told: what records said since it began, seen: what it has read"""

    def __init__(self, shard: int, head: RecordId) -> None:
        self.shard, self.head = shard, head
        self.cursor = 0
        self.told: set[int] = set()
        self.seen: set[int] = set()


class Totals:
    def __init__(self, primaries: Primaries, open_max: int = OPEN_MAX) -> None:
        self._primaries, self._open_max = primaries, open_max
        self.forget()

    def forget(self) -> None:
        """Forget all counts: another keeper counts now, or the store is another one."""
        self._shards = [ShardTotals() for _ in range(keys.SHARDS)]
        self._left = set(range(keys.SHARDS))
        """Not counted yet."""
        self._walk: _Walk | None = None
        self._next = 0
        self._epochs = [0] * keys.SHARDS
        self.over = False
        """There were too many."""
        self.sessions, self.holds = 0, 0
        self.held_micro = Counter[str]()
        """By currency."""
        self._places: dict[tuple[str, str], int] = {}
        """Of peers and currencies in `_by_place`."""
        self._by_place: list[int] = []
        """Micro-units that sessions hold."""

    @property
    def held_by_peer(self) -> dict[tuple[str, ...], int]:
        """Micro-units that open sessions hold, by peer and currency."""
        return {of: self._by_place[place] for of, place in self._places.items()}

    @property
    def complete(self) -> bool:
        """Whether every shard was counted; before that the sums are incomplete."""
        return not self._left and not self.over

    def _forget_shard(self, shard: int) -> None:
        part = self._shards[shard]
        for name in (*part.sessions, *part.holds):
            self._put(shard, name, False, 0)
        for name, (currency, _) in [*part.held.items()]:
            self._hold(shard, name, (currency, 0))
        part.verified = None
        self._left.add(shard)
        if self._walk is not None and self._walk.shard == shard:
            self._walk = None

    # ---- what records say

    def see(self, shard: int, call: RecordedCall) -> None:
        """The next record of this shard; one that was seen already does no harm."""
        if self.over:
            return
        epoch = call.id.epoch
        if epoch != self._epochs[shard]:
            if epoch < self._epochs[shard]:
                return
            if self._epochs[shard]:  # an opening may have put the store back
                self._forget_shard(shard)
            self._epochs[shard] = epoch
        walk = self._walk
        told = walk.told if walk is not None and walk.shard == shard else None
        if call.account_after is not None:
            self._account(shard, hash(call.account_after.id), call.account_after, told)
        if call.session_after is not None:
            name = hash((call.record.account, call.session_after.id))
            self._session(shard, name, call.session_after, call.account_after, told)

    def _account(self, shard: int, name: int, account: Account, told: set[int] | None) -> None:
        if told is not None:
            told.add(name)
        micro = 0
        for bucket in account.buckets:
            if bucket.kind == _MONEY:
                micro += bucket.held
        self._hold(shard, name, (account.currency, micro))

    def _hold(self, shard: int, name: int, now: Held) -> None:
        held, sums = self._shards[shard].held, self.held_micro
        before = held.get(name)
        if before == now:
            return
        if before is not None:
            sums[before[0]] -= before[1]
        sums[now[0]] += now[1]
        if now[1]:
            held[name] = now
        elif before is not None:
            del held[name]

    def _session(
        self, shard: int, name: int, session: SessionHead, account: Account | None, told: set[int] | None
    ) -> None:
        if told is not None:
            told.add(name)
        lines = session.holds
        if lines and account is not None:
            lines |= self._place(session.peer, account.currency) << _LINES | _money(session, account) << _PLACE
        self._put(shard, name, session.state == _OPEN, lines)

    def _place(self, peer: str, currency: str) -> int:
        place = self._places.get((peer, currency))
        if place is None:
            if len(self._places) >= PEERS_MAX and peer != OTHERS:
                return self._place(OTHERS, currency)
            place = self._places[peer, currency] = len(self._by_place)
            self._by_place.append(0)
        return place

    def _put(self, shard: int, name: int, is_open: bool, holds: int) -> None:
        part = self._shards[shard]
        before = part.holds.get(name, 0)
        if holds != before:
            self.holds += (holds & 0xFF) - (before & 0xFF)
            if micro := before >> _PLACE:
                self._by_place[before >> _LINES & 0xFFFF] -= micro
            if micro := holds >> _PLACE:
                self._by_place[holds >> _LINES & 0xFFFF] += micro
            if holds:
                part.holds[name] = holds
            else:
                del part.holds[name]
        if is_open != (name in part.sessions):
            self.sessions += 1 if is_open else -1
            if is_open:
                part.sessions.add(name)
            else:
                part.sessions.remove(name)
        if self.sessions > self._open_max:
            self.forget()
            self.over = True

    # ---- what the store says

    async def look(self, heads: Mapping[int, RecordId]) -> int:
        """Go on with the walk, by a bounded number of members; returns how many were read. heads: of the streams"""
        looked, most = 0, FIRST if self._left else AGAIN
        while looked < most and not self.over:
            walk = self._walk = self._walk or self._begun(heads)
            if walk is None:
                break
            looked += 1 + await self._read(walk)
            if self._walk is walk and not walk.cursor:  # nothing was forgotten meanwhile
                self._end(walk)
        return looked

    def _begun(self, heads: Mapping[int, RecordId]) -> _Walk | None:
        """Over the next shard that is not counted, or was not since its stream moved; None: there is none."""
        for step in range(keys.SHARDS):
            shard = (self._next + step) % keys.SHARDS
            part, head = self._shards[shard], heads.get(shard)
            if head is None or self._primaries.of(shard) is None:  # nobody has it now
                continue
            if head == START and not part.sessions:
                self._left.discard(shard)
            elif part.verified != head:
                self._next = (shard + 1) % keys.SHARDS
                return _Walk(shard, head)
        return None

    async def _read(self, walk: _Walk) -> int:
        """The next piece; returns how many members it had."""
        shard = walk.shard
        primary = self._primaries.of(shard)
        if primary is None:
            self._walk = None
            return 0
        ((cursor, found),) = await send(primary.client, [("ZSCAN", keys.due(shard), walk.cursor, "COUNT", PIECE)])
        members = [keys.due_parts(member.decode()) for member in found[::2]]
        for start in range(0, len(members), PIECE):  # one that is small is told whole
            wanted: defaultdict[str, list[str]] = defaultdict(list)
            for account, session in members[start : start + PIECE]:
                wanted[account] += [session] if session else []
            commands = [("HMGET", keys.account(one), ACCOUNT_FIELD, *sessions) for one, sessions in wanted.items()]
            for account, fields in zip(wanted, await send(primary.client, commands), strict=True):
                if self._walk is walk:
                    self._take(walk, account, fields)
        walk.cursor = int(cursor)
        return len(members)

    def _take(self, walk: _Walk, account: str, fields: list[Any]) -> None:
        """What is stored of an account and of some of its sessions; where a record was seen meanwhile, it knows."""
        packed, *sessions = fields
        name = hash(account)
        walk.seen.add(name)
        found = None if packed is None else _ACCOUNT.decode(packed)
        if found is not None and name not in walk.told:
            self._account(walk.shard, name, found, None)
        for head in (session_head(one) for one in sessions if one is not None):
            name = hash((account, head.id))
            walk.seen.add(name)
            if name not in walk.told:
                self._session(walk.shard, name, head, found, None)

    def _end(self, walk: _Walk) -> None:
        """What was met neither in the store nor in a record is gone."""
        part = self._shards[walk.shard]
        for name in (part.sessions | part.holds.keys()) - walk.seen - walk.told:
            self._put(walk.shard, name, False, 0)
        for name in part.held.keys() - walk.seen - walk.told:
            self._hold(walk.shard, name, (part.held[name][0], 0))
        part.verified = walk.head
        self._left.discard(walk.shard)
        self._walk = None


def _money(session: SessionHead, account: Account) -> int:
    """Micro-units that it holds."""
    micro = 0
    for line in session.lines:
        for take in line.hold:
            for bucket in account.buckets:
                if bucket.id == take.bucket:
                    if bucket.kind == _MONEY:
                        micro += take.amount
                    break
    return micro
