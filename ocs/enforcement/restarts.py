"""Ends the sessions of hosts that restarted (their Origin-State-Id has risen): the sessions are closed, abandoned and
with their holds released (charging.md section 8). Later reports of them stay chargeable.

One walk over all open sessions does it for all hosts that are due, a shard at a time. How far it is, is in the store: a
keeper that comes after a crash goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import msgspec

from balances import keys
from balances.redis.pending import Pending
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from balances.structs.session import Session, SessionState

AT_ONCE: Final = 200
LOOKS: Final = 3
"""Times a session is looked at that is touched between being read and being ended."""

_session: Final = msgspec.msgpack.Decoder(Session).decode


class RestartWalk(msgspec.Struct):
    """Value of the key `origins:walk`: the walk that is under way, and how far it is."""

    hosts: dict[str, int]
    """By Origin-Host in lower case: sessions known under a lower value are ended."""
    shard: int = 0
    """The next one."""


_walk: Final = msgspec.msgpack.Decoder(RestartWalk).decode


class RestartStore(Protocol):
    """The part of balances.redis.store.Store that is needed here."""

    def expire(self, expiry: Expire) -> Pending[Reply]: ...


class Restarts:
    """
    ignores:  whether nothing is to be made of what this host says (profile `origin_state = "ignore"`)
    alarm:    a person has to look
    """

    def __init__(
        self,
        redis: Any,
        store: RestartStore,
        *,
        now_ms: Callable[[], int],
        ignores: Callable[[str], bool],
        alarm: Callable[[str], None],
    ) -> None:
        self.ended = 0
        """Sessions whose host restarted."""
        self._redis, self._store = redis, store
        self._now_ms, self._ignores, self._alarm = now_ms, ignores, alarm
        self._changes: bytes | None = None
        self._doubted: set[str] = set()

    async def step(self) -> RestartWalk | None:
        """Do one shard of the walk that is under way or due. None when there is nothing to do."""
        walk = await self._under_way() or await self._due()
        if walk is None:
            return None
        async for some in self._members(walk.shard):
            await self._end(walk.hosts, some)
        walk.shard += 1
        if walk.shard < keys.SHARDS:
            await self._redis.set(keys.ORIGINS_WALK, msgspec.msgpack.encode(walk))
        else:
            await self._redis.zadd(keys.ORIGINS_ENDED, walk.hosts, gt=True)
            await self._redis.delete(keys.ORIGINS_WALK)
            self._changes = None  # it may have risen again meanwhile
        return walk

    async def _under_way(self) -> RestartWalk | None:
        packed = await self._redis.get(keys.ORIGINS_WALK)
        return None if packed is None else await self._believed(_walk(packed))

    async def _due(self) -> RestartWalk | None:
        changes = await self._redis.get(keys.ORIGINS_CHANGES)
        if changes == self._changes:
            return None
        highest = await self._redis.zrange(keys.ORIGINS, 0, -1, withscores=True)
        ended = dict(await self._redis.zrange(keys.ORIGINS_ENDED, 0, -1, withscores=True))
        hosts = {host.decode(): int(value) for host, value in highest if value > ended.get(host, value)}
        walk = await self._believed(RestartWalk(hosts))
        if walk is None:
            self._changes = changes
        return walk

    async def _believed(self, walk: RestartWalk) -> RestartWalk | None:
        """Without the hosts that said a lower value after a higher one: several processes under one name, or a clock
        that went back. What they say tells nothing about their sessions, and a person is told."""
        doubted = {host.decode() for host in await self._redis.smembers(keys.ORIGINS_DOUBTED)}
        doubted = {host for host in doubted if not self._ignores(host)}
        for host in sorted(doubted - self._doubted):
            self._alarm(
                f"{host} says a lower Origin-State-Id than before and is not believed any more:"
                ' set origin_state = "ignore" in its profile'
            )
        self._doubted = doubted
        hosts = {host: at for host, at in walk.hosts.items() if host not in doubted and not self._ignores(host)}
        if not hosts:
            await self._redis.delete(keys.ORIGINS_WALK)
            return None
        return RestartWalk(hosts, walk.shard)

    async def _members(self, shard: int) -> AsyncIterator[list[tuple[str, str]]]:
        """Accounts and sessions of a shard that supervision knows: all that are open, some perhaps twice."""
        cursor = 0
        while True:
            cursor, found = await self._redis.zscan(keys.due(shard), cursor, count=AT_ONCE)
            members = [keys.due_parts(member.decode()) for member, _ in found]
            for start in range(0, len(members), AT_ONCE):
                yield [(account, session) for account, session in members[start : start + AT_ONCE] if session]
            if not cursor:
                return

    async def _end(self, hosts: dict[str, int], members: list[tuple[str, str]]) -> None:
        for _ in range(LOOKS):
            if not members:
                return
            pipe = self._redis.pipeline(transaction=False)
            for account, session in members:
                pipe.hget(keys.account(account), session)
            found = [
                (account, _session(packed))
                for (account, _), packed in zip(members, await pipe.execute(), strict=True)
                if packed is not None
            ]
            lost = [(account, session) for account, session in found if is_lost(session, hosts)]
            now_ms = self._now_ms()
            replies = await asyncio.gather(
                *(
                    self._store.expire(Expire(account, session.id, now_ms, touched_ms=session.touched_ms)).wait()
                    for account, session in lost
                )
            )
            self.ended += sum(reply.status == "ok" for reply in replies)
            members = [
                (account, session.id)
                for (account, session), reply in zip(lost, replies, strict=True)
                if reply.status == "later"
            ]


def is_lost(session: Session, hosts: dict[str, int]) -> bool:
    """Whether it is open and was last heard of under a lower value of its host. One that said none is left alone."""
    return session.state == SessionState.OPEN and 0 < session.origin_state < hosts.get(session.peer.lower(), 0)
