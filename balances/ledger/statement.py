"""What an account had at a past moment, and what became of it in a period, out of its entries (charging.md section 20).

All are sums of entries, and of what months that were dropped were closed with, never balances read beside them: so
opening + entries = closing to the micro-unit, and what is said of a period that is closed is said for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from balances.ledger.kept import KeptSince, NotKept, entries_since, kept, usage_since
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


# Of use whose record is not kept, all that is known is that it was before the instant from which these are.
_BALANCE: Final = """
    SELECT bucket, kind, sum(amount)::bigint AS amount FROM (
        SELECT e.bucket, e.kind, e.amount FROM ledger_kept k CROSS JOIN kept_entries e
            LEFT JOIN usage_records u
                ON u.account = e.account AND u.epoch = e.epoch AND u.n = e.n AND u.line = e.usage_line
        WHERE e.account = $1 AND e.at_ms < $3 AND LEAST(COALESCE(u.at_ms,
            CASE WHEN e.usage_line IS NOT NULL THEN NULLIF(k.usage_from_ms, 0) - 1 END, e.at_ms), e.at_ms) < $2
        UNION ALL SELECT bucket, kind, after FROM ledger_brought WHERE account = $1) parts
    GROUP BY bucket, kind HAVING sum(amount) <> 0 OR bucket = 0 ORDER BY bucket
"""
_CLOSED: Final = """
    SELECT bucket, kind, after FROM (
        SELECT DISTINCT ON (bucket) bucket, kind, after FROM ledger_closings WHERE account = $1 AND until_ms <= $2
        ORDER BY bucket, until_ms DESC) last
    WHERE after <> 0 OR bucket = 0 ORDER BY bucket
"""


async def balance_at(pg: Any, account: str, before_ms: int, known_ms: int) -> list[BucketSum]:
    """What each bucket had from what happened before an instant, as far as that was posted before another one.

    before_ms:  by event time: of use when it was used, of anything else when it was posted
    known_ms:   by posting time
    """
    async with pg.acquire() as one, one.transaction(isolation="repeatable_read", readonly=True):
        rows = await one.fetch(_BALANCE, fit(account), before_ms, known_ms)  # entries first: see kept.py
        entries_from_ms, usage_from_ms = await kept(one)
        if known_ms <= before_ms:  # all that was posted by then had happened: no usage record is needed
            if known_ms < entries_from_ms:
                rows = await _closing(one, account, known_ms, entries_from_ms)
        elif before_ms < usage_from_ms:
            raise NotKept(
                f"{usage_since(usage_from_ms)}: of before it is known what was known at the end of a month"
                " (`as_of` and `known_at` alike)"
            )
    return [BucketSum(*row) for row in rows]


async def _closing(pg: Any, account: str, known_ms: int, entries_from_ms: int) -> Sequence[Any]:
    if not await pg.fetchval("SELECT EXISTS (SELECT FROM ledger_periods WHERE until_ms = $1)", known_ms):
        raise NotKept(f"{entries_since(entries_from_ms)}: of before it is known what there was at the end of a month")
    found: Sequence[Any] = await pg.fetch(_CLOSED, fit(account), known_ms)
    return found


_KINDS: Final = """
    SELECT kind, COALESCE(sum(amount) FILTER (WHERE at_ms < $2), 0)::bigint, sum(amount)::bigint FROM (
        SELECT kind, amount, at_ms FROM kept_entries WHERE account = $1 AND at_ms < $3
        UNION ALL SELECT kind, after, 0 FROM ledger_brought WHERE account = $1) parts
    GROUP BY kind ORDER BY kind
"""
_REASONS: Final = """
    SELECT kind, why, counter_account, count(*), sum(amount)::bigint, sum(net)::bigint, sum(tax)::bigint,
        tags->>$4::text
    FROM kept_entries WHERE account = $1 AND at_ms >= $2 AND at_ms < $3
    GROUP BY kind, why, counter_account, 8 ORDER BY kind, why, counter_account, 8
"""

_LAST: Final = """
    SELECT GREATEST((SELECT max(seq) FROM kept_entries WHERE account = $1),
        (SELECT max(seq) FROM ledger_brought WHERE account = $1), 0)
"""


def check_from(from_ms: int, kept: KeptSince) -> None:
    """Raises NotKept: a period that begins then has entries that are gone."""
    if from_ms < kept.entries_from_ms:
        raise NotKept(
            f"{entries_since(kept.entries_from_ms)}: a statement may begin then. What an account had at the end of an"
            " earlier month is its balance `as_of` and `known_at` that instant"
        )


async def period(pg: Any, account: str, from_ms: int, until_ms: int, group_by: str | None = None) -> PeriodSums:
    """A period by posting time: from the first instant on, before the second one. Raises NotKept.

    group_by: key of a charging tag, by which entries are told apart too
    """
    of = (fit(account), from_ms, until_ms)
    async with pg.acquire() as one, one.transaction(isolation="repeatable_read", readonly=True):
        kinds = [KindSums(*row) for row in await one.fetch(_KINDS, *of)]  # entries first: see kept.py
        check_from(from_ms, await kept(one))
        reasons = [ReasonSums(*row) for row in await one.fetch(_REASONS, *of, group_by)]
        last = await one.fetchval(_LAST, fit(account))
    return PeriodSums(kinds, reasons, last)
