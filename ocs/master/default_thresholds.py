"""Notification thresholds that tariffs bring for the accounts of their subscribers, in PostgreSQL: which an account is
to have now, and which accounts are to be looked at (charging.md section 7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from balances.structs.thresholds import THRESHOLDS_MAX, Threshold
from tariffs.thresholds import DefaultThreshold

if TYPE_CHECKING:
    from asyncpg import Connection


class TariffDefaults(NamedTuple):
    """What the tariffs of an account's subscribers bring."""

    thresholds: Sequence[Threshold]
    """At one instant, in the order they count in."""
    next_ms: int
    """When that may be other thresholds, if nobody changes anything; 0: never."""


class _Assigned(NamedTuple):
    account: str
    tariff: str
    from_ms: int
    until_ms: int


class _TariffVersion(NamedTuple):
    valid_from_ms: int
    thresholds: Sequence[DefaultThreshold]


_read: Final = msgspec.json.Decoder(tuple[DefaultThreshold, ...]).decode


def packed(thresholds: Sequence[DefaultThreshold]) -> str:
    """As the column has them."""
    return msgspec.json.encode(thresholds).decode()


# --- which


_ASSIGNED: Final = """
    SELECT s.account, a.tariff, a.from_ms, a.until_ms, min(a.place) AS place
    FROM paying s JOIN assignments a ON a.subscriber = s.subscriber
    WHERE s.account = ANY($1) AND EXISTS (SELECT FROM tariffs t WHERE t.id = a.tariff AND t.thresholds <> '[]')
    GROUP BY s.account, a.tariff, a.from_ms, a.until_ms ORDER BY place, tariff, a.from_ms
"""
_VERSIONS: Final = (
    "SELECT id, valid_from_ms, thresholds::text AS thresholds FROM tariffs WHERE id = ANY($1) ORDER BY id, version DESC"
)


async def brought(db: Connection, accounts: Mapping[str, str], now_ms: int) -> dict[str, TariffDefaults]:
    """What tariffs bring for these accounts now. accounts: id -> currency"""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        rows = await db.fetch(_ASSIGNED, list(accounts))
        versions: dict[str, list[_TariffVersion]] = {}
        for row in await db.fetch(_VERSIONS, sorted({row["tariff"] for row in rows})) if rows else ():
            version = _TariffVersion(row["valid_from_ms"], _read(row["thresholds"]))
            versions.setdefault(row["id"], []).append(version)
    assigned: dict[str, list[_Assigned]] = {account: [] for account in accounts}
    for row in rows:
        assigned[row["account"]].append(_Assigned(row["account"], row["tariff"], row["from_ms"], row["until_ms"]))
    return {
        account: _of_account(assigned[account], versions, currency, now_ms) for account, currency in accounts.items()
    }


def _of_account(
    assigned: Iterable[_Assigned], versions: Mapping[str, Sequence[_TariffVersion]], currency: str, now_ms: int
) -> TariffDefaults:
    found: dict[str, Threshold] = {}
    changes: set[int] = set()
    for one in assigned:
        changes |= {one.from_ms, one.until_ms} | {version.valid_from_ms for version in versions[one.tariff]}
        if one.from_ms > now_ms or 0 < one.until_ms <= now_ms:
            continue
        # The newest version that is valid counts, as for prices (tariffs/catalog.py).
        valid = next((version for version in versions[one.tariff] if version.valid_from_ms <= now_ms), None)
        for given in valid.thresholds if valid is not None else ():
            if given.currency in ("", currency):
                found.setdefault(given.name, _threshold(given, one.tariff))
    return TariffDefaults([*found.values()], min((one for one in changes if one > now_ms), default=0))


def _threshold(given: DefaultThreshold, tariff: str) -> Threshold:
    return Threshold(
        given.name,
        given.kind,
        given.below,
        given.rearm,
        given.percent,
        given.bucket,
        given.service,
        tariff=tariff,
    )


def merged(own: Iterable[Threshold], defaults: Iterable[Threshold]) -> list[Threshold]:
    """All that an account has: its own win by name, and what finds no room beside them is left out."""
    found = {one.name: one for one in own}
    for one in defaults:
        if len(found) < THRESHOLDS_MAX:
            found.setdefault(one.name, one)
    return sorted(found.values(), key=lambda one: one.name)


# --- whose

_ASK: Final = """
    INSERT INTO default_thresholds_due (account, due_ms, change)
    SELECT DISTINCT asked.account, 0, $3::bigint FROM unnest($1::text[], $2::text[]) AS asked (account, tariff)
    WHERE EXISTS (SELECT FROM tariffs t WHERE t.id = asked.tariff AND t.thresholds <> '[]')
    ON CONFLICT (account) DO UPDATE SET due_ms = 0, change = excluded.change
"""


async def members_changed(db: Connection, pairs: Collection[tuple[str, str]], number: int) -> None:
    """Some of an account's subscribers have or had these tariffs. pairs: (account, tariff)"""
    if pairs:
        await db.execute(_ASK, [account for account, _ in pairs], [tariff for _, tariff in pairs], number)


_ASK_ALL: Final = """
    INSERT INTO default_thresholds_due (account, due_ms, change)
    SELECT DISTINCT s.account, 0, $4::bigint FROM assignments a JOIN paying s ON s.subscriber = a.subscriber
    WHERE a.tariff = $1
        AND EXISTS (SELECT FROM tariffs t WHERE t.id = $1 AND t.version < $2 AND t.thresholds <> $3::jsonb)
    ON CONFLICT (account) DO UPDATE SET due_ms = 0, change = excluded.change
"""


async def published(db: Connection, tariff: str, version: int, thresholds: str, number: int) -> None:
    """A version was published; where all before it bring the same, no account is looked at."""
    await db.execute(_ASK_ALL, tariff, version, thresholds, number)
