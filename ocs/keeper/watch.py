"""How far PostgreSQL is behind the streams, measured once a second while anything moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from balances import keys
from balances.ledger.quarantine import held
from balances.ledger.reader import SHARDS_AT_ONCE, Client, Lag, StreamReader, answering
from balances.ledger.record import RecordId
from balances.ledger.writer import AWAY, Pool, read_cursors
from balances.redis.primaries import Primaries, Primary
from ocs.telemetry.standing_alarms import NAMES_MAX, StandingAlarms

CURSORS: Final = "keeper:cursors"
"""How far PostgreSQL was when it was last asked, for a keeper that starts while it is away."""

ASK_S: Final = 3.0
"""How long PostgreSQL has to answer."""
ASKED_S: Final = 5.0
"""How long it is not asked again for cursors that the copier knows."""


class MeasuredLag(msgspec.Struct):
    lag_entries: int = 0
    lag_ms: int = 0
    """Age of the oldest record that PostgreSQL does not have; 0 when it has all."""
    stopped: dict[int, str] = {}
    quarantined: int = 0
    """Accounts."""

    @property
    def well(self) -> bool:
        """Whether nothing is behind and nothing waits for a person."""
        return not (self.lag_entries or self.stopped or self.quarantined)


class LagWatch:
    """How far PostgreSQL is behind the streams, also while it is away, and what is not copied at all.

    copied:  cursors as the copier knows them; None where another keeper copies, or the copier is not sure of them
    """

    def __init__(
        self,
        redis: Client,
        primaries: Primaries,
        pool: Pool,
        standing: StandingAlarms,
        now_ms: Callable[[], int],
        copied: Callable[[], Mapping[int, RecordId] | None] = lambda: None,
    ) -> None:
        self.now = MeasuredLag()
        self.heads: dict[int, RecordId] = {}
        self._redis, self._primaries, self._pool = redis, primaries, pool
        self._lags: dict[str, Lag] = {}
        """Of each primary, as of when it answered last."""
        self._standing, self._now_ms = standing, now_ms
        self._copied = copied
        self._cursors: dict[int, RecordId] | None = None
        self._asked_s = -ASKED_S
        self._loop = asyncio.get_running_loop()

    async def measure(self) -> None:
        away: Exception | None = None
        copied = self._copied()
        try:
            if (
                copied is None
                or self._loop.time() - self._asked_s > ASKED_S
                or self.now.stopped
                or self.now.quarantined
            ):
                async with asyncio.timeout(ASK_S):
                    await self._ask()
            else:
                await self._keep(dict(copied))
        except AWAY as why:  # what grows meanwhile is seen in the streams
            away = why
        if self._cursors is None:
            self._cursors = _unpacked(await self._redis.get(CURSORS))
        primaries = self._primaries.all()
        measured = await asyncio.gather(*(self._measure(one) for one in primaries), return_exceptions=True)
        self._lags = {one.name: self._lags[one.name] for one in primaries if one.name in self._lags}
        lags = self._lags.values()
        self.now.lag_entries = sum(lag.entries for lag in lags)
        oldest_ms = min((lag.oldest_ms for lag in lags if lag.oldest_ms), default=0)
        self.now.lag_ms = max(self._now_ms() - oldest_ms, 0) if self.now.lag_entries else 0
        for what in (*measured, away):
            if isinstance(what, BaseException):
                raise what

    async def _measure(self, primary: Primary) -> None:
        reader = StreamReader(primary)
        async with answering(ASK_S):
            heads: dict[int, RecordId] = {}
            shards = sorted(primary.shards)
            for first in range(0, len(shards), SHARDS_AT_ONCE):
                heads |= (await reader.heads(shards[first : first + SHARDS_AT_ONCE]))[1]
            self.heads.update(heads)
            if self._cursors is not None:
                self._lags[primary.name] = await reader.lag({s: self._cursors[s] for s in heads}, heads)

    async def look_again(self) -> bool:
        """Where nothing was behind and nothing was written since: whether something has changed in PostgreSQL all the
        same, by a person or another keeper."""
        before = self._cursors, self.now.stopped
        async with asyncio.timeout(ASK_S):
            await self._ask()
        return before != (self._cursors, self.now.stopped)

    async def _ask(self) -> None:
        cursors = await read_cursors(self._pool)
        accounts = await held(self._pool)
        await self._keep(cursors.at)
        self._asked_s = self._loop.time()
        self.now.stopped, self.now.quarantined = cursors.stopped, len(accounts)
        self._standing.lasting("stopped shards", stopped_text(cursors.stopped))
        names = ", ".join(one.account for one in accounts[:NAMES_MAX]) + (" ..." if len(accounts) > NAMES_MAX else "")
        self._standing.lasting(
            "quarantine", f"{len(accounts)} accounts are not copied and not restored: {names}" if accounts else ""
        )

    async def _keep(self, cursors: dict[int, RecordId]) -> None:
        if cursors != self._cursors:
            self._cursors = cursors
            await self._redis.set(CURSORS, _packed(cursors))


def stopped_text(stopped: Mapping[int, str]) -> str:
    """One sentence about shards that are not copied, "" when there are none."""
    if not stopped:
        return ""
    some = [f"{shard} ({why})" for shard, why in sorted(stopped.items())[:NAMES_MAX]]
    many = f"shard{'s' if len(stopped) > 1 else ''} {', '.join(some)}{' ...' if len(stopped) > NAMES_MAX else ''}"
    return f"not copied to PostgreSQL until a person has looked (`ocs ledger status`, `ocs ledger resume`): {many}"


def _packed(cursors: Mapping[int, RecordId]) -> bytes:
    return msgspec.msgpack.encode([cursors[shard] for shard in range(keys.SHARDS)])


def _unpacked(packed: Any) -> dict[int, RecordId] | None:
    if packed is None:
        return None
    return dict(enumerate(msgspec.msgpack.decode(packed, type=list[RecordId])))
