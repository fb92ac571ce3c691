"""Usage records of one account, kept for ever: each with the ladder that priced it and the entries that paid it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from balances.ledger.record import fit
from balances.ledger.writer import Pool

FIELDS: Final = """
    u.epoch, u.n, u.line, u.subscriber, u.session, u.service, u.request_key, u.phase, u.at_ms, u.rating_group,
    u.service_id, u.part, u.unit, u.used, u.suspense, u.total, u.cost, u.granted, u.result, u.flags, u.tag,
    COALESCE(u.terms, '') AS terms, u.inputs, u.counters, l.packed AS ladder, u.currency
"""
USAGE: Final = f"""
    SELECT {FIELDS} FROM usage_records u LEFT JOIN ladders l ON l.hash = u.ladder
    WHERE u.account = $1 AND u.session = $2 ORDER BY u.epoch, u.n, u.line
"""
OF_ENTRY: Final = f"""
    SELECT {FIELDS} FROM ledger_entries e JOIN usage_records u
        ON u.account = e.account AND u.epoch = e.epoch AND u.n = e.n AND u.line = e.usage_line
        LEFT JOIN ladders l ON l.hash = u.ladder
    WHERE e.account = $1 AND e.seq = $2
"""
ENTRIES: Final = """
    SELECT e.epoch, e.n, e.usage_line, e.seq, e.bucket, e.kind, e.amount, e.after, e.why, e.net, e.tax, e.currency_rate,
        e.at_ms, e.counter_account, e.original_seq, e.reference
    FROM ledger_entries e WHERE e.account = $1 AND (e.epoch, e.n) = ANY
        (SELECT x.epoch, x.n FROM unnest($2::bigint[], $3::bigint[]) AS x (epoch, n)) ORDER BY e.seq
"""
ENTRY: Final = "SELECT * FROM ledger_entries WHERE account = $1 AND seq = $2"
CORRECTIONS: Final = """
    SELECT seq, amount, why, reason, at_ms FROM ledger_entries WHERE original_account = $1 AND original_seq = ANY($2)
    ORDER BY seq
"""


class Paid(msgspec.Struct, frozen=True):
    """An entry that a usage record led to."""

    seq: int
    bucket: int
    kind: int
    amount: int
    """Signed: what a use costs is below 0."""
    after: int
    why: str
    net: int | None
    tax: int | None
    rate: str
    """Exchange rate; "" for none."""


class Piece(msgspec.Struct, frozen=True):
    """One settled piece, event, grant or refusal."""

    epoch: int
    n: int
    line: int
    subscriber: str
    session: str
    service: str
    request_key: str
    phase: int
    at_ms: int
    rating_group: int
    service_id: int
    part: int
    unit: int
    used: int
    suspense: int
    total: int
    cost: int
    granted: int
    result: int
    flags: int
    tag: str
    terms: str
    inputs: str | None
    """JSON of what rating looked at."""
    counters: dict[str, int]
    ladder: bytes | None
    """Packed."""
    currency: str
    paid: tuple[Paid, ...] = ()


async def of_session(pool: Pool, account: str, session: str) -> list[Piece]:
    """All of it, in the order it was charged in."""
    return await _with_entries(pool, account, await pool.fetch(USAGE, fit(account), fit(session)))


async def of_entry(pool: Pool, account: str, seq: int) -> tuple[Mapping[str, Any] | None, Piece | None]:
    """An entry, and the usage record it pays; None where there is none."""
    entry = await pool.fetchrow(ENTRY, fit(account), seq)
    if entry is None:
        return None, None
    pieces = await _with_entries(pool, account, await pool.fetch(OF_ENTRY, fit(account), seq))
    return entry, pieces[0] if pieces else None


async def corrections(pool: Pool, account: str, seqs: Sequence[int]) -> Sequence[Mapping[str, Any]]:
    """Entries that correct these."""
    rows: Sequence[Mapping[str, Any]] = await pool.fetch(CORRECTIONS, fit(account), list(seqs))
    return rows


async def _with_entries(pool: Pool, account: str, rows: Sequence[Mapping[str, Any]]) -> list[Piece]:
    calls = sorted({(row["epoch"], row["n"]) for row in rows})
    paid: dict[tuple[int, int, int], list[Paid]] = {}
    for row in await pool.fetch(ENTRIES, fit(account), [epoch for epoch, _ in calls], [n for _, n in calls]):
        if row["usage_line"] is not None:
            entry = Paid(
                row["seq"],
                row["bucket"],
                row["kind"],
                row["amount"],
                row["after"],
                row["why"],
                row["net"],
                row["tax"],
                "" if row["currency_rate"] is None else str(row["currency_rate"]),
            )
            paid.setdefault((row["epoch"], row["n"], row["usage_line"]), []).append(entry)
    pieces = []
    for row in rows:
        values = dict(row)
        values["counters"] = msgspec.json.decode(values["counters"], type=dict[str, int]) if values["counters"] else {}
        pieces.append(Piece(**values, paid=tuple(paid.get((row["epoch"], row["n"], row["line"]), ()))))
    return pieces
