"""Spending limits of subscribers, and of all subscribers of an account together (charging.md 15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ocs.backoffice import accounts, subscribers
from ocs.backoffice.errors import Invalid
from ocs.master import limits
from ocs.master.limits import LimitOwner
from tariffs.ladder import LIMIT_MARK, Count, Counted, limit_key_parts
from tariffs.limits import SpendingLimit, read_period
from tariffs.units import Kind

if TYPE_CHECKING:
    from balances.structs.account import Account
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow


class LimitState(msgspec.Struct, frozen=True):
    """A limit, and how it stands in the period of now."""

    limit: SpendingLimit
    used: int
    held: int
    from_ms: int
    until_ms: int
    """Of the period; 0: it has no end."""

    @property
    def left(self) -> int:
        """What may still be granted, never below 0."""
        return max(self.limit.amount - self.used - self.held, 0)


async def of_subscriber(backoffice: BackOffice, subscriber: str) -> list[LimitState]:
    """Those of the subscriber, and those it shares with all of its account."""
    found = await subscribers.get(backoffice, subscriber)
    own = await limits.of(backoffice.pool, LimitOwner(subscriber=subscriber))
    shared = await limits.of(backoffice.pool, LimitOwner(account=found.account))
    return await _states(backoffice, found.account, subscriber, [*own, *shared])


async def of_account(backoffice: BackOffice, account: str) -> list[LimitState]:
    """Those that all subscribers of the account share."""
    await accounts.find(backoffice, account)
    found = await limits.of(backoffice.pool, LimitOwner(account=account))
    return await _states(backoffice, account, "", found)


async def put(backoffice: BackOffice, owner: LimitOwner, wanted: SpendingLimit) -> tuple[LimitState, bool]:
    """Set a limit; returns it, and whether it is new. It counts from the next grant on: sessions of all whom it limits
    are asked to report."""
    try:
        wanted = msgspec.structs.replace(wanted, period=read_period(wanted.period), shared=bool(owner.account))
    except ValueError as why:
        raise Invalid("period", str(why)) from None
    services = (await backoffice.context()).settings.services.by_name
    if unknown := [service for service in wanted.services if service not in services]:
        raise Invalid("services", f"expected services ({', '.join(sorted(services))}), found {', '.join(unknown)}")
    is_new = await limits.put(backoffice.pool, owner, wanted)
    await backoffice.publish()
    account = owner.account or (await subscribers.get(backoffice, owner.subscriber)).account
    [state] = await _states(backoffice, account, owner.subscriber, [wanted])
    return state, is_new


async def delete(backoffice: BackOffice, owner: LimitOwner, name: str) -> None:
    await limits.delete(backoffice.pool, owner, name)
    await backoffice.publish()


async def in_force(backoffice: BackOffice, row: AccountRow, live: Account) -> list[Count]:
    """Limits as they are now, in the period of now, of those that something was counted of."""
    counted = {one.key for one in live.counters if one.key.startswith(LIMIT_MARK)}
    if not counted:
        return []
    subscribers_ = {limit_key_parts(key)[0] for key in counted} - {""}
    owners = [LimitOwner(account=row.id), *(LimitOwner(subscriber=one) for one in sorted(subscribers_))]
    now_ms, counts = backoffice.now_ms(), []
    for owner, found in (await limits.of_all(backoffice.pool, owners)).items():
        for limit in found:
            period, _, until_ms = limit.period_at(row.time_zone, now_ms)
            key = limit.key(owner.subscriber, period)
            if key in counted:
                what = Counted.MONEY if limit.kind == Kind.MONEY else Counted.UNITS
                counts.append(Count(key, what, until_ms, limit=limit.amount))
    return counts


async def _states(
    backoffice: BackOffice, account: str, subscriber: str, found: Sequence[SpendingLimit]
) -> list[LimitState]:
    if not found:
        return []
    row = await accounts.find(backoffice, account)
    live, _ = await accounts.read(backoffice, row)
    counters = {counter.key: counter for counter in live.counters}
    states = []
    for limit in found:
        period, from_ms, until_ms = limit.period_at(row.time_zone, backoffice.now_ms())
        counter = counters.get(limit.key(subscriber, period))
        used, held = (counter.used, counter.held) if counter is not None else (0, 0)
        states.append(LimitState(limit, used, held, from_ms, until_ms))
    return states
