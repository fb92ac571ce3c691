"""Accounts by where they stand: state, reason of suspension, free money between two amounts, and whose they are.

Answered from PostgreSQL, as of the last record that was copied (balances/ledger/standings.py). The order is that of the
free money, then of the ids, so that a page goes on where the one before ended. There are few states, so each that is
meant is looked at in its own range of the index, and read no further than the page needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from balances.ledger.event_data import AccountState
from balances.ledger.events import word_of
from balances.ledger.standings import Standing, kinds
from balances.structs.account import SuspendReasons
from tariffs.units import EXACT_MAX

if TYPE_CHECKING:
    from asyncpg import Pool


class WantedStandings(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; all of it together. None: whatever it is."""

    state: AccountState | None = None
    reason: SuspendReasons | None = None
    """That it is suspended for, among others."""
    currency: str | None = None
    free_from: int | None = None
    """Micro-units."""
    free_below: int | None = None
    customer: str | None = None
    tag: str | None = None
    accounts: Sequence[str] | None = None
    """Only of these."""

    @property
    def by_standing(self) -> bool:
        """Whether it says anything of where accounts stand."""
        return (self.state, self.reason, self.currency, self.free_from, self.free_below) != (None,) * 5

    def means(self, currency: str, state: int) -> bool:
        return (
            (self.currency is None or self.currency == currency)
            and (self.state is None or self.state == word_of(state))
            and (self.reason is None or bool(state & self.reason and word_of(state) == "suspended"))
        )


_OF_STATES: Final = """
    SELECT found.* FROM unnest($1::text[], $2::smallint[]) AS kind (currency, state)
    CROSS JOIN LATERAL (SELECT s.account, s.currency, s.state, s.free FROM standings s
        WHERE s.currency = kind.currency AND s.state = kind.state AND s.free >= $3 AND s.free < $4
            AND (s.free, s.account) > ($5, $6)
        ORDER BY s.free, s.account LIMIT $7) found
    ORDER BY free, account LIMIT $7
"""
_OF_OWNERS: Final = """
    SELECT s.account, s.currency, s.state, s.free FROM accounts a JOIN standings s ON s.account = a.id
    WHERE (s.currency, s.state) IN (SELECT * FROM unnest($1::text[], $2::smallint[]))
        AND s.free >= $3 AND s.free < $4 AND (s.free, s.account) > ($5, $6)
        AND ($8::text IS NULL OR a.customer = $8) AND ($9::text IS NULL OR a.tags @> ARRAY[$9])
        AND ($10::text[] IS NULL OR a.id = ANY($10))
    ORDER BY free, account LIMIT $7
"""


async def standing(pool: Pool, wanted: WantedStandings, after: tuple[int, str], limit: int) -> list[Standing]:
    """A page, after (free, id) of the last one of the page before."""
    meant = [kind for kind in await kinds(pool) if wanted.means(*kind)]
    if not meant:
        return []
    given = (
        [currency for currency, _ in meant],
        [state for _, state in meant],
        -EXACT_MAX if wanted.free_from is None else wanted.free_from,
        EXACT_MAX if wanted.free_below is None else wanted.free_below,
        *after,
        limit,
    )
    owners = wanted.customer, wanted.tag, None if wanted.accounts is None else [*wanted.accounts]
    if owners == (None, None, None):
        rows = await pool.fetch(_OF_STATES, *given)
    else:
        rows = await pool.fetch(_OF_OWNERS, *given, *owners)
    return [Standing(*row) for row in rows]
