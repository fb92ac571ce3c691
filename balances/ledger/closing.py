"""Closing a month of the ledger: a row of each account and bucket says what it had then (charging.md section 20).

Posting times of an account never go back (its clock), so what it had at the end of a month is the balance after its
last entry before that. The rows are made from sums and held against those balances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from balances.ledger.months import Month


class NotClosable(Exception):
    """It cannot be closed; the text says why, for the operator."""


class ClosedPeriod(NamedTuple):
    """By the columns of ledger_periods."""

    until_ms: int
    from_ms: int
    month: str
    closed_ms: int
    closed_by: str
    entries: int
    accounts: int


class ClosedBook(NamedTuple):
    """What came from (below zero) and went to a counter-account in a period."""

    kind: int
    currency: str
    book: str
    amount: int


_COLUMNS: Final = "until_ms, from_ms, month, closed_ms, closed_by, entries, accounts"

_CLOSINGS: Final = """
WITH moved AS (
    SELECT account, bucket, min(kind) AS kind, min(currency) AS currency, max(seq) AS seq, count(*) AS entries,
           sum(amount)::bigint AS amount
      FROM ledger_entries WHERE at_ms >= $1 AND at_ms < $2 GROUP BY account, bucket)
INSERT INTO ledger_closings (account, bucket, until_ms, kind, currency, seq, entries, amount, after)
SELECT m.account, m.bucket, $2, m.kind, m.currency, m.seq, m.entries, m.amount, COALESCE(b.after, 0) + m.amount
  FROM moved m LEFT JOIN LATERAL (SELECT c.after FROM ledger_closings c WHERE c.account = m.account
                                     AND c.bucket = m.bucket ORDER BY c.until_ms DESC LIMIT 1) b ON true
"""

_BOOKS: Final = """
INSERT INTO ledger_closed_books (until_ms, kind, currency, book, amount)
SELECT $2, kind, currency, book, sum(amount)::bigint FROM ledger_legs
 WHERE leg = 'counter' AND at_ms >= $1 AND at_ms < $2 GROUP BY kind, currency, book
"""

_WRONG: Final = """
SELECT c.account, c.bucket, c.after, e.after AS found FROM ledger_closings c
  JOIN ledger_entries e ON e.account = c.account AND e.seq = c.seq
 WHERE c.until_ms = $1 AND c.after <> e.after LIMIT 1
"""

_UNEVEN: Final = """
SELECT kind, currency, sum(amount)::bigint FROM (
    SELECT kind, currency, amount FROM ledger_closings WHERE until_ms = $1
    UNION ALL SELECT kind, currency, amount FROM ledger_closed_books WHERE until_ms = $1) legs
 GROUP BY kind, currency HAVING sum(amount) <> 0 LIMIT 1
"""


async def close(pool: Any, month: Month, by: str, now_ms: int) -> ClosedPeriod:
    """Close a month. The caller knows that it is over, and that all of it is in PostgreSQL. One that is closed is as it
    was closed."""
    from_ms, until_ms = month.from_ms, month.next.from_ms
    async with pool.acquire() as pg, pg.transaction(isolation="repeatable_read"):
        await pg.execute("LOCK TABLE ledger_periods IN SHARE ROW EXCLUSIVE MODE")
        known = await pg.fetchrow(f"SELECT {_COLUMNS} FROM ledger_periods WHERE until_ms = $1", until_ms)
        if known is not None:
            return ClosedPeriod(*known)
        last_ms = await pg.fetchval("SELECT COALESCE(max(until_ms), 0) FROM ledger_periods")
        if last_ms > from_ms:
            raise NotClosable(f"a later month is closed already; {month.name} was empty then, and stays so")
        earlier_ms = await pg.fetchval(
            "SELECT min(at_ms) FROM ledger_entries WHERE at_ms >= $1 AND at_ms < $2", last_ms, from_ms
        )
        if earlier_ms is not None:
            raise NotClosable(f"{Month.at(earlier_ms).name} is not closed: months are closed one after the other")
        await pg.execute(_CLOSINGS, from_ms, until_ms)
        await pg.execute(_BOOKS, from_ms, until_ms)
        wrong = await pg.fetchrow(_WRONG, until_ms)
        if wrong is not None:
            account, bucket, after, found = wrong
            raise NotClosable(
                f"entries of account {account}, bucket {bucket} make {after}, and the last of them says {found}:"
                " `ocs ledger verify`"
            )
        uneven = await pg.fetchrow(_UNEVEN, until_ms)
        if uneven is not None:
            raise NotClosable(f"all legs in {uneven[1]} together make {uneven[2]}, not 0: `ocs ledger verify`")
        made = await pg.fetchrow(
            f"INSERT INTO ledger_periods ({_COLUMNS}) SELECT $1, $2, $3, $4, $5, COALESCE(sum(entries), 0)::bigint,"
            f" count(DISTINCT account) FROM ledger_closings WHERE until_ms = $1 RETURNING {_COLUMNS}",
            until_ms,
            from_ms,
            month.name,
            now_ms,
            by,
        )
        return ClosedPeriod(*made)


async def periods(pg: Any) -> Sequence[ClosedPeriod]:
    """All that are closed, the oldest first."""
    return [ClosedPeriod(*row) for row in await pg.fetch(f"SELECT {_COLUMNS} FROM ledger_periods ORDER BY until_ms")]


async def books(pg: Any, until_ms: int) -> Sequence[ClosedBook]:
    """What a closed period came to."""
    rows = await pg.fetch(
        "SELECT kind, currency, book, amount FROM ledger_closed_books WHERE until_ms = $1"
        " ORDER BY currency, kind, book",
        until_ms,
    )
    return [ClosedBook(*row) for row in rows]


CHANGED: Final = """
WITH now AS (
    SELECT e.account, e.bucket, p.until_ms, count(*) AS entries, sum(e.amount)::bigint AS amount, max(e.seq) AS seq
      FROM kept_entries e JOIN ledger_periods p ON e.at_ms >= p.from_ms AND e.at_ms < p.until_ms
     WHERE e.account = ANY($1) GROUP BY 1, 2, 3)
SELECT account, bucket, p.month, COALESCE(c.entries, 0), COALESCE(c.amount, 0), COALESCE(n.entries, 0),
       COALESCE(n.amount, 0)
  FROM (SELECT * FROM ledger_closings WHERE account = ANY($1)
           AND until_ms > (SELECT entries_from_ms FROM ledger_kept)) c
  FULL JOIN now n USING (account, bucket, until_ms) JOIN ledger_periods p USING (until_ms)
 WHERE (c.entries, c.amount, c.seq) IS DISTINCT FROM (n.entries, n.amount, n.seq)
"""
"""Account, bucket, month, entries and their sum when it was closed, and now: where these differ. $1: accounts."""

CHANGED_IN: Final = """
WITH now AS (
    SELECT account, bucket, min(kind) AS kind, min(currency) AS currency, count(*) AS entries,
           sum(amount)::bigint AS amount, max(seq) AS seq
      FROM ledger_entries WHERE at_ms >= $1 AND at_ms < $2 GROUP BY 1, 2)
SELECT account, bucket FROM (SELECT * FROM ledger_closings WHERE until_ms = $2) c
  FULL JOIN now n USING (account, bucket)
 WHERE (c.kind, c.currency, c.entries, c.amount, c.seq)
       IS DISTINCT FROM (n.kind, n.currency, n.entries, n.amount, n.seq) LIMIT 1
"""
"""An account and bucket of which a month, from $1 until $2, has other entries than it was closed with."""

UNCHAINED: Final = """
SELECT account, bucket, p.month, before, amount, after FROM (
    SELECT account, bucket, until_ms, amount, after, seq,
           lag(after, 1, 0::bigint) OVER w AS before, lag(seq, 1, 0::bigint) OVER w AS last_seq
      FROM ledger_closings WHERE account = ANY($1) WINDOW w AS (PARTITION BY account, bucket ORDER BY until_ms)) c
  JOIN ledger_periods p USING (until_ms)
 WHERE after <> before + amount OR seq <= last_seq
"""
"""Closings that do not continue the one before, of these accounts."""


def _hash(columns: str) -> str:
    """60 bits of it, as a number."""
    return (
        f"('x' || substr(encode(sha256(convert_to(concat_ws('|', {columns}), 'UTF8')), 'hex'), 1, 15))::bit(60)::bigint"
    )


DIGEST: Final = f"""
SELECT COALESCE(sum(hash), 0)::text FROM (
    SELECT {_hash("account, bucket, kind, currency, seq, entries, amount, after")} AS hash
      FROM ledger_closings WHERE until_ms = $1
    UNION ALL SELECT {_hash("kind, currency, book, amount")} FROM ledger_closed_books WHERE until_ms = $1) hashes
"""
"""Of what a month was closed with, in any order. $1: its end"""
