"""What a refund gives back of, as its entry says it on the stream: PostgreSQL has the grant when it has the entry, from
wherever that came (charging.md section 9, durability.md rule 12).

Usually the grant is there before the entry (refunds.py). After PostgreSQL was put back from a backup, or a standby that
lagged was promoted, the entry comes back from the stream and brings it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from balances.ledger.terms import GIVEN_BACK, read
from balances.structs.posting import CounterReturn


class GivenBack(msgspec.Struct, array_like=True, frozen=True):
    """Of an entry, or of what a session cost; and what was turned back with it."""

    fingerprint: str
    session: str
    incarnation: int
    seq: int | None
    returns: Sequence[CounterReturn] = ()


_decode: Final = msgspec.json.Decoder(GivenBack).decode
_encode: Final = msgspec.json.Encoder().encode

Row = tuple[Any, ...]
"""Columns of `refunds`: account, request, fingerprint, session, incarnation, seq, amount, turned, tax."""


def as_term(given: GivenBack) -> str:
    """As a part of the terms of an entry."""
    return GIVEN_BACK + quote(_encode(given).decode(), safe="")


def row_of(account: str, request: str, amount: int, terms: str) -> Row | None:
    """The grant that an entry of a refund says; None: none (the network asked for it, or it is of before)."""
    for part in terms.split(";"):
        if part.startswith(GIVEN_BACK):
            given = _decode(unquote(part.removeprefix(GIVEN_BACK)))
            turned = _encode(given.returns).decode() if given.returns else None
            what = (given.fingerprint, given.session, given.incarnation, given.seq)
            return (account, request, *what, amount, turned, read(terms).tax_is)
    return None


_GRANTED: Final = """
    INSERT INTO refunds (account, request, fingerprint, session, incarnation, seq, amount, turned, tax)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9) ON CONFLICT (account, request) DO NOTHING
"""
# By the entry that was taken back.
_TAKEN_BACK: Final = """
    UPDATE refunds SET amount = 0, tax = NULL, turned = NULL WHERE account = $1 AND amount > 0 AND request =
        (SELECT request_key FROM ledger_entries WHERE account = $1 AND seq = $2 AND why = 'refund')
"""


async def write(pg: Any, granted: Sequence[Row], taken_back: Sequence[tuple[str, int]]) -> None:
    """In the transaction that copies the entries, after these.

    taken_back:  account and number of what a reversal took back
    """
    if granted:
        await pg.executemany(_GRANTED, sorted(granted, key=lambda row: row[:2]))
    if taken_back:
        await pg.executemany(_TAKEN_BACK, sorted(taken_back))
