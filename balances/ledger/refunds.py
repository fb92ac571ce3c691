"""How much of what was paid a refund may still give back: an entry, or a session, never more than it cost.

A refund is granted here before it is posted, one after the other for each account, and so is what the end of a
recurring fee gives back. What was granted and not posted counts all the same: its caller repeats it under the same key,
and nobody else gets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from balances.ledger.in_words import money
from balances.ledger.kept import gone, kept, usage_since
from balances.ledger.record import fit
from balances.ledger.turned_back import Turning, turned_by
from balances.structs.posting import CounterReturn


class RefundRefused(Exception):
    """It is more than is left, or of nothing that was paid; the text is meant for the caller."""


class Source(NamedTuple):
    """What is given back: an entry, or what a session has cost."""

    session: str = ""
    incarnation: int = 0
    seq: int | None = None


class Granted(NamedTuple):
    """What may be posted."""

    source: Source
    returns: Sequence[CounterReturn]
    """What the use had counted that is turned back with it."""
    tax: int | None = None
    """So much of it is tax, in micro-units; None: what it cost said nothing of tax."""


class Left(NamedTuple):
    """What is left to give back, in micro-units."""

    amount: int
    tax: int | None
    """Contained in it; None: nothing was said of tax."""

    def tax_of(self, part: int) -> int | None:
        """In a part: in proportion, rounded half up to a micro-unit, and with the last part all that is left."""
        if self.tax is None or part == self.amount:
            return self.tax
        return (2 * self.tax * part + self.amount) // (2 * self.amount)


_tags: Final = msgspec.json.Decoder(dict[str, str]).decode
_returns: Final = msgspec.json.Decoder(list[CounterReturn]).decode


_ENTRY = """
    SELECT e.amount, e.tax, e.kind, e.why, e.request_key, u.session, u.incarnation, u.phase,
           e.usage_line IS NOT NULL AND u.account IS NULL AS unknown FROM kept_entries e
      LEFT JOIN usage_records u ON u.account = e.account AND u.epoch = e.epoch AND u.n = e.n AND u.line = e.usage_line
     WHERE e.account = $1 AND e.seq = $2
"""
# Debits of a session by incarnation, newest first, with what corrections gave back or took.
_PAID = """
    SELECT u.incarnation, -sum(e.amount + COALESCE((SELECT sum(c.amount) FROM ledger_entries c
             WHERE c.original_account = e.account AND c.original_seq = e.seq AND c.why = 'rerate'), 0))::bigint AS paid,
           -sum(e.tax + COALESCE((SELECT sum(c.tax) FROM ledger_entries c
             WHERE c.original_account = e.account AND c.original_seq = e.seq AND c.why = 'rerate'), 0))::bigint AS tax
      FROM usage_records u JOIN kept_entries e
        ON e.account = u.account AND e.epoch = u.epoch AND e.n = u.n AND e.usage_line = u.line AND e.kind = 0
     WHERE u.account = $1 AND u.session = $2 AND u.phase <> 4 GROUP BY u.incarnation ORDER BY u.incarnation DESC
"""
_OF_SESSION = """
    SELECT COALESCE(sum(amount), 0)::bigint AS amount, COALESCE(sum(tax), 0)::bigint AS tax FROM refunds
     WHERE account = $1 AND session = $2 AND incarnation = $3
"""
_OF_ENTRY = """
    SELECT COALESCE(sum(amount), 0)::bigint AS amount, COALESCE(sum(tax), 0)::bigint AS tax FROM refunds
     WHERE account = $1 AND seq = $2
"""
# What the end of its assignment gives back of a period of a recurring fee, granted or posted, and what refunds did.
_RETURNED = """
    SELECT GREATEST((SELECT COALESCE(sum(amount), 0) FROM refunds WHERE account = $1 AND period = $2),
        (SELECT COALESCE(sum(amount), 0) FROM ledger_entries
          WHERE account = $1 AND why = 'fee' AND kind = 0 AND amount > 0 AND starts_with(request_key, $2)))::bigint
"""
_OF_PERIOD = """
    SELECT COALESCE(sum(r.amount), 0)::bigint FROM refunds r LEFT JOIN ledger_entries e USING (account, seq)
     WHERE r.account = $1 AND (r.of_period = $2 OR (e.why = 'fee' AND starts_with(e.request_key, $2)))
"""


_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('refund ' || $1, 0))"


def _period(key: str) -> str:
    """What the keys of a fee's period begin with: they end with its last day and an amount."""
    return key.rsplit("|", 2)[0] + "|"


async def refunded_of_fee(pool: Any, account: str, key: str) -> int:
    """What refunds gave back of the period of a recurring fee that this key is of, in micro-units."""
    return int(await pool.fetchval(_OF_PERIOD, account, _period(key)))


async def grant_end(pool: Any, account: str, chain: str, key: str, wanted: int) -> int:
    """How much of what was paid of the period that this key is of the end of its fee gives back: of so much what no
    refund gave or gives back. What was granted once is granted again, to the end of this fee only."""
    async with pool.acquire() as pg, pg.transaction():
        await pg.execute(_LOCK, account)
        request, period = f"fee {chain}", _period(key)
        known = await pg.fetchval("SELECT amount FROM refunds WHERE account = $1 AND request = $2", account, request)
        if known is not None:
            return min(int(known), wanted)
        back = max(wanted - int(await pg.fetchval(_OF_PERIOD, account, period)), 0)
        await pg.execute(
            "INSERT INTO refunds (account, request, fingerprint, session, incarnation, amount, period)"
            " VALUES ($1, $2, '', '', 0, $3, $4)",
            account,
            request,
            back,
            period,
        )
        return back


async def end_gave_nothing(pool: Any, account: str, chain: str) -> None:
    """The account was closed: what was granted to the end of this fee was not given, and a refund may give it."""
    await pool.execute("UPDATE refunds SET amount = 0 WHERE account = $1 AND request = $2", account, f"fee {chain}")


async def grant(
    pool: Any,
    account: str,
    request: str,
    fingerprint: str,
    amount: int,
    *,
    seq: int | None,
    sessions: list[str],
    windows: Mapping[str, int],
) -> Granted | None:
    """What may be posted now; None: the request was granted before, with another content. Refused: why not.

    sessions:  keys of the session that is meant, where no entry is
    windows:   of counters of the account that have a window: when it ends
    """
    async with pool.acquire() as pg, pg.transaction():
        await pg.execute(_LOCK, account)
        known = await pg.fetchrow(
            "SELECT session, incarnation, seq, fingerprint, turned, tax FROM refunds"
            " WHERE account = $1 AND request = $2",
            account,
            request,
        )
        if known is not None:
            if known["fingerprint"] != fingerprint:
                return None
            source = Source(known["session"], known["incarnation"], known["seq"])
            return Granted(source, _returns(known["turned"] or "[]"), known["tax"])
        found = _entry(pg, account, seq, amount) if seq is not None else _session(pg, account, sessions, amount)
        source, left = await found
        turning = Turning(account, source.session, source.incarnation, source.seq, amount, left.amount, windows)
        returns = await turned_by(pg, turning) if source.session else []
        await pg.execute(
            "INSERT INTO refunds (account, request, fingerprint, session, incarnation, seq, amount, turned, tax)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9)",
            account,
            request,
            fingerprint,
            *source,
            amount,
            msgspec.json.encode(returns).decode() if returns else None,
            tax := left.tax_of(amount),
        )
        return Granted(source, returns, tax)


_IS_POSTED = """
    SELECT EXISTS (SELECT FROM ledger_entries WHERE account = $1 AND why = 'refund' AND request_key = $2)
        OR EXISTS (SELECT FROM refunds WHERE account = $1 AND request = $2 AND posted)
"""


async def is_posted(pool: Any, account: str, request: str) -> bool:
    """Whether the ledger has a refund under this key, however long ago. It was granted once, so it is posted once."""
    return bool(await pool.fetchval(_IS_POSTED, account, fit(request)))


_TAGS_OF_ENTRY = "SELECT tags FROM ledger_entries WHERE account = $1 AND seq = $2"
_TAGS_OF_SESSION = """
    SELECT DISTINCT e.tags FROM usage_records u JOIN ledger_entries e
        ON e.account = u.account AND e.epoch = u.epoch AND e.n = u.n AND e.usage_line = u.line AND e.kind = 0
     WHERE u.account = $1 AND u.session = $2 AND u.incarnation = $3 AND u.phase <> 4 AND e.why = 'usage'
"""


async def tags_of(pool: Any, account: str, source: Source) -> dict[str, str]:
    """Charging tags of what is given back: of a session those that all its entries say alike."""
    if source.seq is not None:
        rows = await pool.fetch(_TAGS_OF_ENTRY, account, source.seq)
    else:
        rows = await pool.fetch(_TAGS_OF_SESSION, account, source.session, source.incarnation)
    said = [_tags(row["tags"]).items() if row["tags"] else {}.items() for row in rows]
    return dict(sorted(set(said[0]).intersection(*said[1:]))) if said else {}


async def taken_back(pool: Any, account: str, request: str) -> None:
    """A refund was reversed: what it gave may be given back again."""
    await pool.execute(
        "UPDATE refunds SET amount = 0, tax = NULL, turned = NULL WHERE account = $1 AND request = $2",
        account,
        fit(request),
    )


async def turned(pool: Any, account: str, request: str) -> Sequence[CounterReturn]:
    """What a refund turned back of counters."""
    query = "SELECT turned FROM refunds WHERE account = $1 AND request = $2"
    return _returns(await pool.fetchval(query, account, fit(request)) or "[]")


async def _entry(pg: Any, account: str, seq: int, amount: int) -> tuple[Source, Left]:
    """With what is left of it to give back."""
    row = await pg.fetchrow(_ENTRY, account, seq)
    if row is None:
        why = await gone(pg, account, seq)
        raise RefundRefused(f"entry: account {account} has no entry {seq}{why and f' any more: {why}'}")
    if row["unknown"]:
        raise RefundRefused("entry: the record of the use that it paid is not kept any more")
    if row["kind"] != 0 or row["amount"] >= 0 or row["why"] not in ("usage", "fee", "suspense"):
        raise RefundRefused(f"entry: nothing was charged by entry {seq}")
    if row["phase"] == 4:
        raise RefundRefused("entry: it is of a one-time event: name that, by event")
    left = _rest(-row["amount"], row["tax"] and -row["tax"], await pg.fetchrow(_OF_ENTRY, account, seq))
    if row["why"] == "fee":
        returned = await pg.fetchval(_RETURNED, account, _period(row["request_key"]))
        left = Left(kept := max(left.amount - returned, 0), left.tax_of(kept))
    source = Source(seq=seq)
    if row["session"] is not None:
        source = Source(row["session"], row["incarnation"], seq)
        left = min(await _left(pg, account, source.session, source.incarnation), left, key=lambda one: one.amount)
    if left.amount <= 0:
        raise RefundRefused(f"entry: all that entry {seq} cost is given back")
    if amount > left.amount:
        raise RefundRefused(f"amount: no more than {money(left.amount)} is left to give back of entry {seq}")
    return source, left


def _rest(cost: int, tax: int | None, given: Any) -> Left:
    """Of what was paid, with its tax, what refunds did not give back."""
    return Left(cost - given["amount"], None if tax is None else tax - given["tax"])


async def _session(pg: Any, account: str, sessions: list[str], amount: int) -> tuple[Source, Left]:
    """The newest incarnation that is not wholly refunded (charging.md section 3), with what is left of it."""
    for session in map(fit, sessions):
        paid = await pg.fetch(_PAID, account, session)
        for incarnation, cost, tax in paid:
            left = _rest(cost, tax, await pg.fetchrow(_OF_SESSION, account, session, incarnation))
            if left.amount > 0:
                if amount > left.amount:
                    raise RefundRefused(
                        f"amount: no more than {money(left.amount)} is left to give back of the session"
                    )
                return Source(session, incarnation), left
        if paid:
            raise RefundRefused("session: all it cost is given back")
    since = (await kept(pg)).usage_from_ms
    raise RefundRefused(
        f"session: account {account} was charged for no such session{(since and f'; {usage_since(since)}') or ''}"
    )


async def _left(pg: Any, account: str, session: str, incarnation: int) -> Left:
    paid = {row["incarnation"]: (row["paid"], row["tax"]) for row in await pg.fetch(_PAID, account, session)}
    given = await pg.fetchrow(_OF_SESSION, account, session, incarnation)
    return _rest(*paid.get(incarnation, (0, None)), given)
