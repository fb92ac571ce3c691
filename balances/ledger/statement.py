"""What an account had at a past moment, and what became of it in a period, out of its entries (charging.md section 20).

All are sums of entries, never balances read beside them: so opening + entries = closing to the micro-unit, and what is
said of a period that is closed is said for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from balances.ledger.record import fit

EVER_MS: Final = 2**53 - 1


class BucketSum(NamedTuple):
    """What a bucket had."""

    bucket: int
    kind: int
    amount: int


class KindSums(NamedTuple):
    """Of all buckets of one kind: what they had when the period began, and when it ended."""

    kind: int
    opening: int
    closing: int


class ReasonSums(NamedTuple):
    """Entries of the period of one kind of bucket, for one reason."""

    kind: int
    why: str
    counter_account: str
    entries: int
    amount: int
    net: int | None
    tax: int | None
    tag: str | None = None
    """What these entries say under the key that is grouped by; None: nothing."""


class PeriodSums(NamedTuple):
    """A period of one account."""

    kinds: Sequence[KindSums]
    reasons: Sequence[ReasonSums]
    last_seq: int
    """Of all entries that are in PostgreSQL, also after the period."""


_BALANCE: Final = """
    SELECT e.bucket, e.kind, sum(e.amount)::bigint AS amount
    FROM ledger_entries e
        LEFT JOIN usage_records u ON u.account = e.account AND u.epoch = e.epoch AND u.n = e.n AND u.line = e.usage_line
    WHERE e.account = $1 AND e.at_ms < $3 AND LEAST(COALESCE(u.at_ms, e.at_ms), e.at_ms) < $2
    GROUP BY e.bucket, e.kind HAVING sum(e.amount) <> 0 OR e.bucket = 0 ORDER BY e.bucket
"""


async def balance_at(pg: Any, account: str, before_ms: int, known_ms: int) -> list[BucketSum]:
    """What each bucket had from what happened before an instant, as far as that was posted before another one.

    before_ms:  by event time: of use when it was used, of anything else when it was posted
    known_ms:   by posting time
    """
    return [BucketSum(*row) for row in await pg.fetch(_BALANCE, fit(account), before_ms, known_ms)]


_KINDS: Final = """
    SELECT kind, COALESCE(sum(amount) FILTER (WHERE at_ms < $2), 0)::bigint, sum(amount)::bigint
    FROM ledger_entries WHERE account = $1 AND at_ms < $3 GROUP BY kind ORDER BY kind
"""
_REASONS: Final = """
    SELECT kind, why, counter_account, count(*), sum(amount)::bigint, sum(net)::bigint, sum(tax)::bigint,
        tags->>$4::text
    FROM ledger_entries WHERE account = $1 AND at_ms >= $2 AND at_ms < $3
    GROUP BY kind, why, counter_account, 8 ORDER BY kind, why, counter_account, 8
"""


async def period(pg: Any, account: str, from_ms: int, until_ms: int, group_by: str | None = None) -> PeriodSums:
    """A period by posting time: from the first instant on, before the second one.

    group_by: key of a charging tag, by which entries are told apart too
    """
    of = (fit(account), from_ms, until_ms)
    async with pg.acquire() as one, one.transaction(isolation="repeatable_read", readonly=True):
        kinds = [KindSums(*row) for row in await one.fetch(_KINDS, *of)]
        reasons = [ReasonSums(*row) for row in await one.fetch(_REASONS, *of, group_by)]
        last = await one.fetchval("SELECT COALESCE(max(seq), 0) FROM ledger_entries WHERE account = $1", fit(account))
    return PeriodSums(kinds, reasons, last)
