"""What the keeper asks of Redis beside the streams: what is due, who watches which shards, whom to nudge.

Leases here only save work: a sweep carries its epoch and looks again at what it finds, so two hosts that sweep the
same shard do each thing once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.reader import Client
from balances.ops import Session, SessionState

ALIVE: Final = "keeper:alive"
"""Instant until which some keeper was at work: a Redis that comes back knows how long nobody could report."""

GRACE: Final = "keeper:grace"
"""Milliseconds by which deadlines are extended, kept for as long as they are."""


class Due(NamedTuple):
    account: str
    session: str
    """"" for the account itself: its buckets."""
    at_ms: int


class Push(msgspec.Struct, omit_defaults=True):
    """What is published on `keys.PUSH`, as msgpack: a request to the network element of a session."""

    id: str
    kind: str
    """rar, asr"""
    session: str
    peer: str
    realm: str
    via: str
    rating_group: int | None = None
    incarnation: int = 0
    """Of the session: what comes back is about this one."""


_SESSION: Final = msgspec.msgpack.Decoder(Session)
_ENCODE: Final = msgspec.msgpack.Encoder()


class Supervision:
    def __init__(self, redis: Client, token: str) -> None:
        self._redis = redis
        self._token = token
        """Names this keeper in leases."""

    async def time_ms(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def lease(self, name: str, ttl_ms: int) -> bool:
        """Take a lease, or keep one that is ours."""
        key = f"lease:{name}"
        if await self._redis.set(key, self._token, nx=True, px=ttl_ms):
            return True
        if await self._redis.get(key) != self._token.encode():
            return False
        await self._redis.pexpire(key, ttl_ms)
        return True

    async def release(self, name: str) -> None:
        if await self._redis.get(f"lease:{name}") == self._token.encode():
            await self._redis.delete(f"lease:{name}")

    async def due(self, shards: Iterable[int], until_ms: int, limit: int) -> list[Due]:
        """Members of these shards that are due, at most `limit` of each, soonest first."""
        pipe = self._redis.pipeline(transaction=False)
        for shard in shards:
            pipe.zrangebyscore(keys.due(shard), "-inf", until_ms, start=0, num=limit, withscores=True)
        found = []
        for members in await pipe.execute():
            for member, score in members:
                found.append(Due(*keys.due_parts(member.decode()), int(score)))
        return found

    async def forget_where(self, account: str, sessions: list[str]) -> None:
        """Remove `where:` of those sessions that are gone, unless another account has them by now."""
        for session in sessions:
            key = keys.where(session)
            place = await self._redis.get(key)
            if place is None or keys.place_parts(place.decode())[0] != account:
                continue
            if await self._redis.hexists(keys.sessions(account), session):
                continue
            await self._redis.delete(key)
            if await self._redis.hexists(keys.sessions(account), session):  # begun again at this very moment
                await self._redis.set(key, place, nx=True)

    async def came_back(self, now_ms: int, *, grace_ms: int, noticed_ms: int) -> int:
        """At an opening: how long nobody was at work. Deadlines are extended by it for `grace_ms`."""
        alive = await self._redis.get(ALIVE)
        away_ms = now_ms - int(alive) if alive else 0
        if away_ms > noticed_ms:
            longest = max(away_ms, int(await self._redis.get(GRACE) or 0))
            await self._redis.set(GRACE, longest, px=grace_ms)
        return max(away_ms, 0)

    async def alive(self, now_ms: int) -> int:
        """Say so; returns by how much deadlines are extended now."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(ALIVE, now_ms)
        pipe.get(GRACE)
        return int((await pipe.execute())[1] or 0)

    async def nudge(self, account: str, kinds: Iterable[str], *, but: str, key: str) -> int:
        """Publish RARs for the sessions that `kinds` of ops.Record.nudges mean; a repeat does no harm."""
        sessions = [_SESSION.decode(packed) for packed in await self._redis.hvals(keys.sessions(account))]
        chosen = nudged([session for session in sessions if session.id != but], kinds)
        for session in chosen:
            push = Push(f"{key}:{session.id}", "rar", session.id, session.peer, session.realm, session.via)
            push.incarnation = session.incarnation
            await self._redis.publish(keys.PUSH, _ENCODE.encode(push))
        return len(chosen)


def nudged(sessions: list[Session], kinds: Iterable[str]) -> list[Session]:
    """`holder`: the one that holds most money; `final`: all that were told their grant was the last; `all`: all that
    hold something (charging.md section 7: a lower limit, a state changed)."""
    alive = [session for session in sessions if session.state == SessionState.OPEN]
    chosen: dict[str, Session] = {}
    for kind in kinds:
        if kind == "final":
            chosen |= {session.id: session for session in alive if any(line.final for line in session.lines)}
        elif kind == "all":
            chosen |= {session.id: session for session in alive if any(line.due_ms for line in session.lines)}
        elif kind == "holder":
            holders = [(held(session), session.id, session) for session in alive]
            most = max(holders, default=None, key=lambda one: one[:2])
            if most is not None and most[0] > 0:
                chosen[most[1]] = most[2]
    return list(chosen.values())


def held(session: Session) -> int:
    """All that its lines hold. Units and money are added up: which is worth more is not known here."""
    return sum(take.amount for line in session.lines for take in line.hold)
