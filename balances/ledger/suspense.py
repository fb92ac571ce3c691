"""Suspense: use that was reported and not charged, as a list that people settle (charging.md section 2).

The list follows the streams: a row comes in the transaction that copies its usage record, and becomes `charged` in the
one that copies its entry. What a person decides is written here first; the entry is an effect elsewhere that carries
the key of the row (durability.md rule 10), so that any process that finds it missing may post it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import asyncpg

from balances import keys
from balances.ledger.record import RecordedCall, fit
from balances.structs.account import MAIN
from balances.structs.posting import Post, Posting
from balances.structs.record import ASIDE
from tariffs.units import Kind

KEPT_MS: Final = 30 * 86_400_000
"""How long Redis remembers that a row was charged; its state in PostgreSQL says so for ever."""

COLUMNS: Final = (
    "id", "account", "subscriber", "session", "service", "request_key", "rating_group", "service_id", "unit", "amount",
    "currency", "set_aside", "at_ms", "last_ms", "inputs",
)  # fmt: skip
AMOUNT: Final = COLUMNS.index("amount")
UNIT: Final = COLUMNS.index("unit")
CURRENCY: Final = COLUMNS.index("currency")

_ADD: Final = f"""
    INSERT INTO suspense AS s ({", ".join(COLUMNS)}, reports) VALUES
        ($1, NULL, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT (session, service, rating_group, service_id, unit, (CASE WHEN unit = 0 THEN currency ELSE '' END))
        WHERE account IS NULL AND state = 'open'
    DO UPDATE SET amount = s.amount + EXCLUDED.amount, reports = s.reports + EXCLUDED.reports,
        last_ms = greatest(s.last_ms, EXCLUDED.last_ms)
"""
# Counters show all since their session began: what was settled of it is no part of what is open.
_SHOW: Final = f"""
    INSERT INTO suspense AS s ({", ".join(COLUMNS)}, reports)
        SELECT $1, NULL, $2, $3, $4, $5, $6, $7, $8, $9 - known.amount, $10, $11, $12, $13, $14, $15
          FROM (SELECT coalesce(sum(amount), 0) AS amount FROM suspense
                 WHERE account IS NULL AND state <> 'open' AND session = $3 AND service = $4 AND rating_group = $6
                   AND service_id = $7 AND unit = $8) known
         WHERE $9 > known.amount
    ON CONFLICT (session, service, rating_group, service_id, unit, (CASE WHEN unit = 0 THEN currency ELSE '' END))
        WHERE account IS NULL AND state = 'open'
    DO UPDATE SET amount = greatest(s.amount, EXCLUDED.amount), reports = s.reports + EXCLUDED.reports,
        last_ms = greatest(s.last_ms, EXCLUDED.last_ms)
"""
_CHARGED: Final = """
    UPDATE suspense SET state = 'charged', payer = $2, charge = $3, seq = $4, decided_by = COALESCE(decided_by, $5),
        reason = COALESCE(reason, $6), decided_ms = COALESCE(decided_ms, $7)
    WHERE id = $1
"""

Row = tuple[Any, ...]


async def repeats(pg: Any, calls: Iterable[RecordedCall]) -> set[int]:
    """Which of these (by id()) set aside what an earlier record has set aside already: nothing in Redis remembers the
    requests of nobody, so a repeat is found here."""
    asides = [call for call in calls if call.record.kind == ASIDE]
    if not asides:
        return set()
    names = [_request(call) for call in asides]
    known = {
        tuple(row)
        for row in await pg.fetch(
            "SELECT DISTINCT c.account, c.session, c.request_key, c.fingerprint"
            " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(account, session, key, fingerprint)"
            " JOIN calls c ON c.account = w.account AND c.session = w.session AND c.request_key = w.key"
            " AND c.fingerprint = w.fingerprint AND c.kind = 'aside'",
            *([name[i] for name in names] for i in range(4)),
        )
    }
    again = set()
    for call, name in zip(asides, names, strict=True):
        if name in known:
            again.add(id(call))
        known.add(name)
    return again


def _request(call: RecordedCall) -> tuple[str, str, str, str]:
    record = call.record
    return fit(record.account), fit(record.session), fit(record.key), fit(record.fingerprint)


async def write(pg: Any, rows: Sequence[Row], settled: Sequence[Row]) -> None:
    """Rows of `COLUMNS`, and what was charged: in the transaction that copies the records."""
    known = [row for row in rows if row[1] is not None]
    if known:
        await pg.copy_records_to_table("suspense", records=known, columns=COLUMNS)
    nobodys: dict[Row, list[Any]] = {}
    for row in rows:
        if row[1] is None:
            currency = row[CURRENCY] if row[UNIT] == Kind.MONEY else ""  # else it says nothing
            line = (row[3], row[4], row[6], row[7], row[UNIT], currency)
            sum_ = nobodys.setdefault(line, [*row, 0])
            if sum_[-1]:
                sum_[AMOUNT] += row[AMOUNT]
                sum_[COLUMNS.index("last_ms")] = max(sum_[COLUMNS.index("last_ms")], row[COLUMNS.index("last_ms")])
            sum_[-1] += 1
    if nobodys:
        await pg.executemany(_ADD, [(row[0], *row[2:]) for row in nobodys.values()])
    if settled:
        await pg.executemany(_CHARGED, settled)


async def write_shown(pg: Any, rows: Sequence[Row]) -> None:
    """What counters of nobody known show: the most of it counts, however often it is reported. The directions of one
    record are added up."""
    last = COLUMNS.index("last_ms")
    records: dict[Row, list[Any]] = {}
    for row in rows:
        record = row[0].rpartition("-")[0]
        one = records.setdefault(
            (record, row[3], row[4], row[6], row[7], row[UNIT]), [*row[:AMOUNT], 0, *row[AMOUNT + 1 :]]
        )
        one[AMOUNT] += row[AMOUNT]
    lines: dict[Row, list[Any]] = {}
    for (_, *line), one in records.items():
        most = lines.setdefault(tuple(line), [*one, 0])
        most[AMOUNT], most[last] = max(most[AMOUNT], one[AMOUNT]), max(most[last], one[last])
        most[-1] += 1
    if lines:
        await pg.executemany(_SHOW, [(row[0], *row[2:]) for row in lines.values()])


# --- settling


class KeyTaken(Exception):
    """The key of a request has settled another row."""


def post_of(row: Mapping[str, Any], now_ms: int) -> Post:
    """The posting of a row in state `charging`: always the same one, under the key of the row, so it is made once."""
    posting = Posting(MAIN, Kind.MONEY, -row["charge"], counter_account="revenue", why="suspense")
    return Post(
        account=row["payer"],
        key=keys.suspense_key(row["id"]),
        fingerprint=f"{row['charge']}",
        now_ms=now_ms,
        postings=[posting],
        own_only=False,
        remember_ms=KEPT_MS,
        actor=row["decided_by"],
        reason=row["reason"],
        reference=f"suspense {row['id']}",
        tags=row["tags"],
    )


async def get(pool: Any, id_: str) -> Mapping[str, Any] | None:
    row: Mapping[str, Any] | None = await pool.fetchrow("SELECT * FROM suspense WHERE id = $1", id_)
    return row


async def of_request(pool: Any, request: str) -> Mapping[str, Any] | None:
    """The row that this caller's key has settled."""
    row: Mapping[str, Any] | None = await pool.fetchrow("SELECT * FROM suspense WHERE request = $1", request)
    return row


async def decide(
    pool: Any,
    id_: str,
    state: str,
    *,
    amount: Any,
    payer: str | None,
    charge: int | None,
    by: str,
    reason: str,
    now_ms: int,
    request: str,
    fingerprint: str,
    tags: str,
) -> Mapping[str, Any] | None:
    """Write down what becomes of an open row; None where it is not open any more, or not of that amount. KeyTaken:
    the request's key has settled another."""
    try:
        row: Mapping[str, Any] | None = await pool.fetchrow(
            "UPDATE suspense SET state = $2, payer = $3, charge = $4, decided_by = $5, reason = $6, decided_ms = $7,"
            " request = $8, fingerprint = $9, tags = $10 WHERE id = $1 AND state = 'open' AND amount = $11 RETURNING *",
            id_,
            state,
            payer,
            charge,
            by,
            reason,
            now_ms,
            request,
            fingerprint,
            tags,
            amount,
        )
    except asyncpg.UniqueViolationError:
        raise KeyTaken from None
    return row


async def unfinished(
    pool: Any, before_ms: int, after: tuple[int, str] = (-1, ""), at_once: int = 100
) -> Sequence[Mapping[str, Any]]:
    """Rows decided before then whose entry is not copied yet, the oldest first, after (decided_ms, id): the process
    that decided may have ended before posting."""
    rows: Sequence[Mapping[str, Any]] = await pool.fetch(
        "SELECT * FROM suspense WHERE state = 'charging' AND decided_ms < $1 AND (decided_ms, id) > ($2, $3)"
        " ORDER BY decided_ms, id LIMIT $4",
        before_ms,
        *after,
        at_once,
    )
    return rows


_PAGE: Final = """
    SELECT * FROM suspense WHERE (at_ms, id) > ($1, $2)
        AND ($3::text IS NULL OR account = $3 OR payer = $3) AND ($4::text IS NULL OR session = $4)
        AND ($5::smallint IS NULL OR set_aside = $5) AND ($6::text IS NULL OR state = $6)
        AND at_ms >= $7 AND at_ms < $8
    ORDER BY at_ms, id LIMIT $9
"""


async def page(
    pool: Any,
    after: tuple[int, str],
    limit: int,
    *,
    account: str | None = None,
    session: str | None = None,
    set_aside: int | None = None,
    state: str | None = None,
    from_ms: int = 0,
    to_ms: int = 2**62,
) -> Sequence[Mapping[str, Any]]:
    """Oldest first, those after (at_ms, id)."""
    fitted = None if session is None else fit(session)
    rows: Sequence[Mapping[str, Any]] = await pool.fetch(
        _PAGE, *after, account, fitted, set_aside, state, from_ms, to_ms, limit
    )
    return rows


async def of_session(pool: Any, account: str, session: str) -> Sequence[Mapping[str, Any]]:
    """What one session set aside, in order."""
    rows: Sequence[Mapping[str, Any]] = await pool.fetch(
        "SELECT * FROM suspense WHERE session = $1 AND account = $2 ORDER BY at_ms, id", fit(session), account
    )
    return rows
