"""Notification thresholds of tariffs into the accounts of their subscribers, in the live store (charging.md 7).

An account that is due (ocs/master/default_thresholds.py) is read, then what its tariffs bring is read, and it is
changed to that at the revision it had. So a change in between is seen by the next run, and a run that is repeated after
a crash changes nothing. Its row is done with only then, and only if nobody asked anew meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from balances.ledger.turns import turn
from balances.structs.account import Account
from balances.structs.posting import AccountSettings
from balances.structs.thresholds import Threshold
from ocs.master.default_thresholds import TariffDefaults, brought, merged

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record

    from balances.redis.store import Store

LOCK: Final = 0x6F6373_02
"""PostgreSQL advisory lock: one run at a time, for economy."""
AT_ONCE: Final = 64
AGAIN_MS: Final = 60_000
"""When an account is looked at again that cannot be brought in."""

_DUE: Final = """
    SELECT account, due_ms, change FROM default_thresholds_due
    WHERE due_ms <= $1 AND (due_ms, account) > ($2, $3) ORDER BY due_ms, account LIMIT $4
"""
_LATER: Final = "UPDATE default_thresholds_due SET due_ms = $3 WHERE account = $1 AND change = $2"
_DONE: Final = "DELETE FROM default_thresholds_due WHERE account = $1 AND change = $2"


async def bring_defaults(
    pool: Pool, store: Store, bring_in: Callable[[str], Awaitable[object]], now_ms: Callable[[], int]
) -> None:
    """Look at all accounts that are due. What is not done, for a change in between or a store that is away, stays due.

    bring_in: restores one account into the live store if it is absent
    """
    async with pool.acquire() as db:
        if not await db.fetchval("SELECT EXISTS (SELECT FROM default_thresholds_due WHERE due_ms <= $1)", now_ms()):
            return  # the usual case
        async with turn(db, LOCK):
            after: tuple[int, str] = (-1, "")
            until_ms = now_ms()
            while rows := await db.fetch(_DUE, until_ms, *after, AT_ONCE):
                await _look(db, store, bring_in, now_ms, rows)
                after = rows[-1]["due_ms"], rows[-1]["account"]


async def _look(
    db: Connection,
    store: Store,
    bring_in: Callable[[str], Awaitable[object]],
    now_ms: Callable[[], int],
    rows: Sequence[Record],
) -> None:
    there = await _there(store, bring_in, [row["account"] for row in rows])
    at_ms = now_ms()
    defaults = await brought(db, {account.id: account.currency for account in there.values()}, at_ms)
    states = await asyncio.gather(*(_settle(store, there[one], defaults[one], at_ms) for one in there))
    done = {account for account, is_done in zip(there, states, strict=True) if is_done}
    for row in rows:
        account, change = row["account"], row["change"]
        if account not in there:
            await db.execute(_LATER, account, change, at_ms + AGAIN_MS)
        elif account in done and (next_ms := defaults[account].next_ms):
            await db.execute(_LATER, account, change, next_ms)
        elif account in done:
            await db.execute(_DONE, account, change)


async def _there(
    store: Store, bring_in: Callable[[str], Awaitable[object]], accounts: Sequence[str]
) -> Mapping[str, Account]:
    asked = [(account, store.account(account)) for account in accounts]
    there = {account: await pending.wait() for account, pending in asked}
    for account in [account for account, state in there.items() if state is None]:
        await bring_in(account)
        there[account] = await store.account(account).wait()
    return {account: state for account, state in there.items() if state is not None}


async def _settle(store: Store, account: Account, defaults: TariffDefaults, at_ms: int) -> bool:
    """Whether the account has now what it is to have."""
    wanted = merged((one for one in account.thresholds if not one.tariff), defaults.thresholds)
    if [_unstated(one) for one in account.thresholds] == [_unstated(one) for one in wanted]:
        return True
    asked = AccountSettings(account.id, at_ms, account.rev, actor="tariff", reason="thresholds", thresholds=wanted)
    return (await store.settings(asked).wait()).status == "ok"


def _unstated(threshold: Threshold) -> Threshold:
    return msgspec.structs.replace(threshold, crossed_ms=0)
