"""What the keeper asks of Redis beside the streams: what is due, who watches which shards, who is to report.

Leases here only save work: a sweep carries its epoch and looks again at what it finds, so two hosts that sweep the
same shard do each thing once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.reader import Client, send
from balances.ledger.record import session_head
from balances.packing import ACCOUNT_FIELD, unpack_account, unpack_ladder
from balances.redis.primaries import Primary
from balances.structs.account import Account
from balances.structs.blob import blob_of
from balances.structs.record import Short
from balances.structs.session import Line, Session, SessionState
from tariffs.units import Kind

ALIVE: Final = "keeper:alive"
"""Instant until which some keeper was at work: a Redis that comes back knows how long nobody could report."""

GRACE: Final = "keeper:grace"
"""Milliseconds by which deadlines are extended, kept for as long as they are."""


PUT_OFF_MS: Final = 60_000

SESSIONS_AT_ONCE: Final = 200
"""Of one account, read in one call."""


class Due(NamedTuple):
    account: str
    session: str
    """"" for the account itself: its buckets."""
    at_ms: int


class SessionRequest(msgspec.Struct, omit_defaults=True):
    """What is published on `keys.SESSION_REQUESTS`, as msgpack: a request to the network element of a session."""

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


def _own(primary: Primary, name: str) -> str:
    """A key that a primary has for itself: what is known of one must not be away with another one."""
    return keys.own(min(primary.shards), name) if primary.clustered else name


class Supervision:
    """
    redis:  any key of it can be asked for there
    token:  names this keeper in leases
    """

    def __init__(self, redis: Client, token: str) -> None:
        self._redis = redis
        self._token = token

    async def time_ms(self, primary: Primary) -> int:
        seconds, micros = await primary.client.time()
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def leases(self, primary: Primary, names: Sequence[str], ttl_ms: int) -> set[str]:
        """Take those that are free and keep those that are ours; returns which are."""
        keys_of = [_own(primary, f"lease:{name}") for name in names]
        owners = await send(primary.client, [("SET", key, self._token, "NX", "GET", "PX", ttl_ms) for key in keys_of])
        token = self._token.encode()
        kept = [key for key, owner in zip(keys_of, owners, strict=True) if owner == token]
        if kept:
            await send(primary.client, [("PEXPIRE", key, ttl_ms) for key in kept])
        return {name for name, owner in zip(names, owners, strict=True) if owner in (None, token)}

    async def release(self, primary: Primary, name: str) -> None:
        key = _own(primary, f"lease:{name}")
        if await primary.client.get(key) == self._token.encode():
            await primary.client.delete(key)

    async def due(self, primary: Primary, shards: Iterable[int], until_ms: int, limit: int) -> list[Due]:
        """Members of these shards of it that are due, at most `limit` of each, soonest first."""
        replies = await send(
            primary.client,
            [("ZRANGEBYSCORE", keys.due(shard), "-inf", until_ms, "WITHSCORES", "LIMIT", 0, limit) for shard in shards],
        )
        return [
            Due(*keys.due_parts(member.decode()), int(score))
            for members in replies
            for member, score in zip(members[::2], members[1::2], strict=True)
        ]

    async def soonest(self, primary: Primary, shards: Sequence[int]) -> dict[int, int]:
        """When the first member of each of these shards of it is due; none of a shard that has no member."""
        replies = await send(primary.client, [("ZRANGE", keys.due(shard), 0, 0, "WITHSCORES") for shard in shards])
        return {shard: int(found[1]) for shard, found in zip(shards, replies, strict=True) if found}

    async def put_off(self, one: Due, now_ms: int) -> None:
        """It could not be swept: look at it again later. A sweep takes the first of each shard, so a few that stay
        would keep all behind them for ever."""
        until_ms = now_ms + PUT_OFF_MS
        await self._redis.zadd(
            keys.due(keys.shard_of(one.account)),
            {keys.due_member(one.account, one.session): until_ms},
            xx=True,
            gt=True,
        )

    async def forget_where(self, gone: Sequence[tuple[str, str]]) -> None:
        """Remove `where:` of those sessions that are gone, given with their account, unless another account has them by
        now. All together, over one connection: there may be hundreds."""
        pipe = self._redis.pipeline(transaction=False)
        for account, session in gone:
            pipe.get(keys.where(session))
            pipe.hexists(keys.account(account), session)
        replies = await pipe.execute()
        removed = [
            (account, session, place)
            for (account, session), place, there in zip(gone, replies[::2], replies[1::2], strict=True)
            if place is not None and keys.place_parts(place.decode())[0] == account and not there
        ]
        if not removed:
            return
        for account, session, _ in removed:
            pipe.delete(keys.where(session))
            pipe.hexists(keys.account(account), session)
        for (_, session, place), there in zip(removed, (await pipe.execute())[1::2], strict=True):
            if there:  # begun again at this very moment
                await self._redis.set(keys.where(session), place, nx=True)

    async def came_back(self, primary: Primary, now_ms: int, *, grace_ms: int, noticed_ms: int) -> int:
        """At an opening: for how long nobody was at work there. Deadlines are extended by it for `grace_ms`."""
        redis, grace = primary.client, _own(primary, GRACE)
        alive = await redis.get(_own(primary, ALIVE))
        away_ms = now_ms - int(alive) if alive else 0
        if away_ms > noticed_ms:
            longest = max(away_ms, int(await redis.get(grace) or 0))
            await redis.set(grace, longest, px=grace_ms)
        return max(away_ms, 0)

    async def alive(self, primary: Primary, now_ms: int) -> int:
        """Write that a keeper is at work there; returns by how much deadlines are extended now."""
        pipe = primary.client.pipeline(transaction=False)
        pipe.set(_own(primary, ALIVE), now_ms)
        pipe.get(_own(primary, GRACE))
        return int((await pipe.execute())[1] or 0)

    async def open_sessions(self, account: str) -> tuple[Account, list[Session]] | None:
        """The account, and its open sessions as they are a moment later; None where the store does not have it. They
        are read some at a time, and of those that have ended only the front is looked at."""
        packed = await self._redis.hget(keys.account(account), ACCOUNT_FIELD)
        if packed is None:
            return None
        found: dict[str, Session] = {}
        cursor = 0
        while True:
            cursor, fields = await self._redis.hscan(keys.account(account), cursor, count=SESSIONS_AT_ONCE)
            for name, value in fields.items():
                if name != ACCOUNT_FIELD and session_head(value).state == SessionState.OPEN:
                    session = _SESSION.decode(value)
                    found[session.id] = session
            if not cursor:
                return unpack_account(packed), list(found.values())

    async def account_and_session(self, account: str, session: str) -> tuple[Account | None, Session | None]:
        """As of one instant; None for what the store does not have."""
        packed, found = await self._redis.hmget(keys.account(account), [ACCOUNT_FIELD, session])
        return (
            None if packed is None else unpack_account(packed),
            None if found is None else _SESSION.decode(found),
        )


def _held(line: Line, buckets: Collection[int], kind: int, counter: str) -> int:
    """What a line holds of these buckets; of a limit, where that is what is short."""
    if not counter or not line.due_ms:
        return sum(take.amount for take in line.hold if take.bucket in buckets)
    if all(count.key != counter for count in unpack_ladder(blob_of(line.ladder)).counts):
        return 0
    return line.granted if kind != Kind.MONEY else sum(take.amount for take in line.hold)


def holders(sessions: list[Session], short: Collection[Short], *, but: Collection[str] = ()) -> list[Session]:
    """Whom to ask for what is short (charging.md section 5): of each unit, and of each limit, the session that holds
    most of it; of equal ones the one that has been silent for longest."""
    chosen: dict[str, Session] = {}
    for kind, counter in sorted({(one.kind, one.counter) for one in short}):
        buckets = {one.bucket for one in short if (one.kind, one.counter) == (kind, "")}
        found = [
            (held, -session.touched_ms, session.id, session)
            for session in sessions
            if session.state == SessionState.OPEN
            and session.id not in but
            and (held := sum(_held(line, buckets, kind, counter) for line in session.lines))
        ]
        if found:
            most = max(found, key=lambda one: one[:3])[-1]
            chosen[most.id] = most
    return list(chosen.values())
