"""Usage records of one account, kept for ever: each with the ladder that priced it and the entries that paid it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from balances.ledger.record import fit
from balances.ledger.writer import Pool

FIELDS: Final = """
    u.epoch, u.n, u.line, u.subscriber, u.session, u.service, u.request_key, u.phase, u.at_ms, u.rating_group,
    u.service_id, u.secondary, u.unit, u.used, u.suspense, u.total, u.cost, u.granted, u.result, u.flags, u.tag,
    COALESCE(u.terms, '') AS terms, u.inputs, u.counters, l.packed AS ladder, u.currency, u.set_aside,
    u.incarnation, u.priced
"""
USAGE: Final = f"""
    SELECT {FIELDS} FROM usage_records u LEFT JOIN ladders l ON l.hash = u.ladder
    WHERE u.account = $1 AND u.session = $2 ORDER BY u.epoch, u.n, u.line
"""
ONE: Final = f"""
    SELECT {FIELDS} FROM usage_records u LEFT JOIN ladders l ON l.hash = u.ladder
    WHERE u.account = $1 AND u.epoch = $2 AND u.n = $3 AND u.line = $4
"""
PAGE: Final = """
    SELECT u.epoch, u.n, u.line, u.subscriber, u.session, u.service, u.phase, u.at_ms, u.rating_group, u.service_id,
        u.unit, u.used, u.cost, u.granted, u.result, u.flags, u.tag, COALESCE(u.terms, '') AS terms, u.currency,
        u.set_aside, u.suspense, u.incarnation
    FROM usage_records u
    WHERE u.account = $1 AND (u.epoch, u.n, u.line) > ($2, $3, $4) AND u.at_ms >= $5 AND u.at_ms < $6
        AND ($7 = '' OR u.subscriber = $7) AND ($8 = '' OR u.service = $8)
        AND ($9 = '' OR strpos(';' || u.terms || ';', ';' || $9 || ';') > 0)
    ORDER BY u.epoch, u.n, u.line LIMIT $10
"""
ENTRIES: Final = """
    SELECT e.epoch, e.n, e.usage_line, e.seq, e.bucket, e.kind, e.amount, e.after, e.why, e.net, e.tax, e.currency_rate,
        e.at_ms, e.counter_account, e.original_seq, e.reference
    FROM ledger_entries e WHERE e.account = $1 AND (e.epoch, e.n) = ANY
        (SELECT x.epoch, x.n FROM unnest($2::bigint[], $3::bigint[]) AS x (epoch, n)) ORDER BY e.seq
"""
ENTRY: Final = "SELECT * FROM ledger_entries WHERE account = $1 AND seq = $2"
CORRECTIONS: Final = """
    SELECT seq, at_ms, amount, reason, reference FROM ledger_entries
    WHERE account = $1 AND reference = ANY($2) AND why = 'rerate' ORDER BY seq
"""
TAKEN_BACK: Final = "SELECT seq FROM ledger_entries WHERE original_account = $1 AND original_seq = $2 ORDER BY seq"
REFERENCE: Final = re.compile(r"usage (\d{1,18})-(\d{1,18})/(\d{1,4})")


class UsageKey(NamedTuple):
    """A usage record of an account."""

    epoch: int
    n: int
    line: int


class UsageFilter(NamedTuple):
    """Which usage records; "" for any."""

    from_ms: int
    until_ms: int
    """By the instant of use."""
    subscriber: str = ""
    service: str = ""
    tag: str = ""
    """A charging tag, as terms have it."""


class UsageRow(msgspec.Struct, frozen=True):
    """A usage record, by itself."""

    epoch: int
    n: int
    line: int
    subscriber: str
    session: str
    service: str
    phase: int
    at_ms: int
    rating_group: int
    service_id: int
    unit: int
    used: int
    cost: int
    granted: int
    result: int
    flags: int
    tag: str
    """Tariff, version and rows."""
    terms: str
    currency: str
    set_aside: int
    suspense: int
    incarnation: int

    @property
    def key(self) -> UsageKey:
        return UsageKey(self.epoch, self.n, self.line)


async def page(pool: Pool, account: str, wanted: UsageFilter, after: UsageKey, limit: int) -> list[UsageRow]:
    """Those behind a record, in the order in which they were charged."""
    of = (wanted.from_ms, wanted.until_ms, fit(wanted.subscriber), fit(wanted.service), wanted.tag)
    return [UsageRow(**row) for row in await pool.fetch(PAGE, fit(account), *after, *of, limit)]


class PaymentEntry(msgspec.Struct, frozen=True):
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


class CorrectionEntry(msgspec.Struct, frozen=True):
    """An entry that a later rating led to."""

    seq: int
    at_ms: int
    amount: int
    """Signed: above 0 was given back."""
    reason: str
    reference: str


class UsagePiece(msgspec.Struct, frozen=True):
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
    secondary: int
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
    set_aside: int
    """Suspense: why `suspense` was not charged."""
    incarnation: int = 0
    """How often the Session-Id was begun; 0: no session."""
    priced: int = 0
    """What of the cost is for prices of buckets."""
    paid: tuple[PaymentEntry, ...] = ()
    corrections: tuple[CorrectionEntry, ...] = ()


async def of_session(pool: Pool, account: str, session: str) -> list[UsagePiece]:
    """All of it, in the order it was charged in."""
    return await _with_entries(pool, account, await pool.fetch(USAGE, fit(account), fit(session)))


async def of_entry(pool: Pool, account: str, seq: int) -> tuple[Mapping[str, Any] | None, UsagePiece | None]:
    """An entry, and the usage record it pays or corrects; None where there is none."""
    entry = await pool.fetchrow(ENTRY, fit(account), seq)
    if entry is None:
        return None, None
    key = [entry["epoch"], entry["n"], entry["usage_line"]]
    if entry["why"] == "rerate" and (named := REFERENCE.fullmatch(entry["reference"] or "")):
        key = [int(number) for number in named.groups()]
    pieces = await _with_entries(pool, account, await pool.fetch(ONE, fit(account), *key))
    return entry, pieces[0] if pieces else None


async def taken_back(pool: Pool, account: str, seq: int) -> list[int]:
    """Numbers of the entries that correct or refund an entry."""
    return [row["seq"] for row in await pool.fetch(TAKEN_BACK, fit(account), seq)]


async def _with_entries(pool: Pool, account: str, rows: Sequence[Mapping[str, Any]]) -> list[UsagePiece]:
    calls = sorted({(row["epoch"], row["n"]) for row in rows})
    paid: dict[tuple[int, int, int], list[PaymentEntry]] = {}
    for row in await pool.fetch(ENTRIES, fit(account), [epoch for epoch, _ in calls], [n for _, n in calls]):
        if row["usage_line"] is not None:
            entry = PaymentEntry(
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
    corrected: dict[str, list[CorrectionEntry]] = {}
    names = [reference_of(row["epoch"], row["n"], row["line"]) for row in rows]
    for row in await pool.fetch(CORRECTIONS, fit(account), names):
        corrected.setdefault(row["reference"], []).append(CorrectionEntry(*row))
    pieces = []
    for name, row in zip(names, rows, strict=True):
        values = dict(row)
        values["counters"] = msgspec.json.decode(values["counters"], type=dict[str, int]) if values["counters"] else {}
        values["paid"] = tuple(paid.get((row["epoch"], row["n"], row["line"]), ()))
        values["corrections"] = tuple(corrected.get(name, ()))
        pieces.append(UsagePiece(**values))
    return pieces


def reference_of(epoch: int, n: int, line: int) -> str:
    """How a usage record is named where it is corrected."""
    return f"usage {epoch}-{n}/{line}"
