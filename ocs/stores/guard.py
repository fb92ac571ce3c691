"""Watches the settings of the live store: those that can lose money are refused at the start, and alarms afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from balances.ledger.reader import STORE_AWAY, answering
from balances.ledger.risk_names import WARNINGS
from balances.ledger.risks import (
    Risk,
    foreign,
    installation,
    installation_key,
    other_installation,
    risks_at,
    risks_of,
    risks_of_all,
)
from balances.ledger.writer import Pool
from balances.redis.moving_primaries import primaries_at
from balances.redis.primaries import Primaries, Primary
from balances.redis.replicas import ONE, ReplicaPromise
from ocs.config.tree import Config
from ocs.stores.postgres_check import installation_at
from ocs.telemetry.standing_alarms import StandingAlarms

WAIT_S: Final = 5.0


class Guard:
    """`found` are the risks as of the last look."""

    def __init__(
        self,
        primaries: Primaries,
        pool: Pool,
        standing: StandingAlarms,
        *,
        durability: str,
        accepted: Collection[str] = (),
        promise: ReplicaPromise = ONE,
    ) -> None:
        self.found: list[Risk] = []
        self.passed = False
        """Shards were found open, or opened: from then on a risk is an alarm."""
        self.refused = ""
        """Why this store may not be opened at a start, "" when it may."""
        self._primaries, self._pool, self._standing = primaries, pool, standing
        self._durability, self._accepted, self._promise = durability, accepted, promise

    async def look(self) -> None:
        """Read the settings of every primary. Each risk is an alarm for as long as it lasts, accepted or not."""
        found: dict[str, Risk] = {}
        away: BaseException | None = None
        for primary in self._primaries.all():
            try:
                async with answering(WAIT_S):
                    risks = await risks_of(primary, self._durability, self._promise)
            except STORE_AWAY as why:
                away = why
                continue
            where = f"{primary.name}: " if primary.clustered else ""
            for risk in risks:
                found.setdefault(risk.name, risk._replace(text=where + risk.text))
        if away is None or found:
            self._judge([*found.values(), *self._of_installation()])
        if away is not None:
            raise away

    async def claim(self, primary: Primary) -> str:
        """Before an opening: why the store may never be opened here, "" when it may. It needs PostgreSQL."""
        other = await other_installation(primary, await installation(self._pool))
        self._judge([risk for risk in self.found if risk.name != "installation"] + ([other] if other else []))
        return refusal([other] if other else [], self._accepted)

    def _of_installation(self) -> list[Risk]:
        return [risk for risk in self.found if risk.name == "installation"]

    def _judge(self, found: list[Risk]) -> None:
        for name in {risk.name for risk in self.found} - {risk.name for risk in found}:
            self._standing.lasting(f"redis: {name}", "")
        for risk in found:
            accepted = " (accepted by redis.accept_risks)" if risk.name in self._accepted else ""
            self._standing.lasting(
                f"redis: {risk.name}", f"the live store may lose money or refuse calls: {risk.text}{accepted}"
            )
        self.found = found
        self.refused = refusal(found, self._accepted)


def refusal(found: Collection[Risk], accepted: Collection[str]) -> str:
    """The risks that are not accepted, one sentence each; "" when there are none that keep from a start."""
    return "; ".join(
        f"redis: {risk.text} [redis.accept_risks: {risk.name}]"
        for risk in found
        if risk.name not in {*accepted, *WARNINGS}
    )


async def refused_at_start(config: Config) -> str:
    """Why the store cannot be used, "" when it can, or cannot be asked: then the keeper looks when it can."""
    try:
        async with asyncio.timeout(WAIT_S):
            found = await risks_at(config.redis.url.reveal(), config.durability, config.redis.promise)
    except STORE_AWAY:
        return ""
    return refusal(found, config.redis.accept_risks)


async def store_troubles(config: Config) -> list[tuple[str, str]]:
    """For `ocs check`: what was checked, and what is wrong with it. A risk that is accepted, or only an alarm, is named
    and is no failure."""
    try:
        async with asyncio.timeout(WAIT_S), primaries_at(config.redis.url.reveal()) as primaries:
            found = await risks_of_all(primaries, config.durability, config.redis.promise)
            theirs = [await primary.client.get(installation_key(primary)) for primary in primaries.all()]
    except STORE_AWAY as why:
        return [("redis settings", f"cannot be asked for: {str(why) or type(why).__name__}")]
    ours = None if config.postgres.embedded else await installation_at(config.postgres.dsn.reveal(), WAIT_S)
    others = [foreign(one, ours) for one in theirs] if ours is not None else []
    found += [other for other in others if other is not None][:1]
    return [_trouble(risk, config.redis.accept_risks) for risk in found] or [("redis settings", "")]


def _trouble(risk: Risk, accepted: Collection[str]) -> tuple[str, str]:
    if risk.name in accepted:
        return f"redis, {risk.name}: {risk.text}; accepted", ""
    if risk.name in WARNINGS:
        return f"redis, {risk.name}, unsafe: {risk.text}; an alarm as long as it is so", ""
    return f"redis, {risk.name}", f"{risk.text} [redis.accept_risks: {risk.name}]"
