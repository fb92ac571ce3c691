"""Where accounts stand: their state and their free money, as of the last record that was copied.

Written in the transaction that copies the record, so it is never older than the ledger. It serves who looks for
accounts by these; what an account has now is in the live store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from balances import keys
from balances.ledger import heads
from balances.ledger.record import RecordedCall, fit
from balances.packing import unpack_account
from balances.structs.account import Account
from tariffs.units import Kind

FILLED_AT_ONCE: Final = 500


_MONEY: Final = int(Kind.MONEY)
"""A member of an enumeration takes longer to compare than all else of a bucket."""


class Standing(NamedTuple):
    """Of one account; by the columns of the table."""

    account: str
    currency: str
    state: int
    """SuspendReasons."""
    free: int
    """Micro-units: see `free_of`."""


def free_of(account: Account, now_ms: int) -> int:
    """Money that pays for anything and is not held, without the credit limit; below zero what the account owes."""
    free = 0
    for bucket in account.buckets:
        anything = bucket.kind == _MONEY and not bucket.scope and not bucket.member
        if anything and bucket.from_ms <= now_ms and (bucket.until_ms == 0 or bucket.until_ms > now_ms):
            free += bucket.amount - bucket.held
    return free


def standing_of(account: Account, at_ms: int) -> Standing:
    return Standing(fit(account.id), account.currency, int(account.state), free_of(account, at_ms))


async def note(pg: Any, copied: Sequence[tuple[int, RecordedCall]]) -> None:
    """In the transaction that copies the records. Of each account the last one counts; in the order of ids, so that two
    copiers wait for each other."""
    last = {call.record.account: call for _, call in copied if call.account_state}
    standings = [
        standing_of(call.account_after or unpack_account(call.account_state or b""), call.record.at_ms)
        for account, call in last.items()
        if not keys.is_nobody(account)
    ]
    await _write(pg, standings, "DO UPDATE SET state = EXCLUDED.state, free = EXCLUDED.free" + _MOVED)


_MOVED: Final = " WHERE (s.state, s.free) <> (EXCLUDED.state, EXCLUDED.free)"


async def _write(pg: Any, standings: Sequence[Standing], on_conflict: str) -> None:
    if standings:
        await pg.execute(
            "INSERT INTO standings AS s (account, currency, state, free)"
            " SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[])"
            f" ON CONFLICT (account) {on_conflict}",
            *map(list, zip(*sorted(standings), strict=True)),
        )


async def fill(pool: Any) -> None:
    """Take in accounts that had records before standings were kept. What is copied meanwhile is newer, and stays."""
    while True:
        async with pool.acquire() as pg, pg.transaction():
            missing = await pg.fetch(
                "DELETE FROM standings_missing WHERE account IN (SELECT account FROM standings_missing ORDER BY account"
                " LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING account",
                FILLED_AT_ONCE,
            )
            if not missing:
                return
            states = await heads.states(pg, [row["account"] for row in missing])
            known = [standing_of(account, account.clock_ms) for account in map(unpack_account, states.values())]
            await _write(pg, known, "DO NOTHING")


async def read(pool: Any, accounts: Sequence[str]) -> dict[str, Standing]:
    """Of those of the accounts that have one."""
    rows = await pool.fetch("SELECT account, currency, state, free FROM standings WHERE account = ANY($1)", [*accounts])
    return {row["account"]: Standing(*row) for row in rows}


_KINDS: Final = """
    WITH RECURSIVE kinds AS (
        (SELECT currency, state FROM standings ORDER BY currency, state LIMIT 1)
      UNION ALL
        SELECT next.currency, next.state FROM kinds k CROSS JOIN LATERAL (SELECT s.currency, s.state FROM standings s
            WHERE (s.currency, s.state) > (k.currency, k.state) ORDER BY s.currency, s.state LIMIT 1) next
    )
    SELECT currency, state FROM kinds
"""


async def kinds(pool: Any) -> list[tuple[str, int]]:
    """Each currency and state that some account is in: a step from one to the next in the index."""
    return [tuple(row) for row in await pool.fetch(_KINDS)]
