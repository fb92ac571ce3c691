"""Charges made on the readable model, as the usage records that PostgreSQL would have of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from balances import keys
from balances.ledger.record import ENTRY_COLUMNS, USAGE_COLUMNS, RecordId, add_rows, no_rows
from balances.ledger.record import RecordedCall as Copied
from balances.model.store import Model
from tariffs.catalog import Exchanges
from tariffs.tariff import Tariff
from tariffs.whatif.prices import Ladders, Prices
from tariffs.whatif.replay import Call, Charged, Replay, ReplayedPiece, Result

pack = msgspec.msgpack.encode


def recorded(model: Model) -> tuple[list[Charged], dict[bytes, bytes]]:
    """Pieces by account and in order, and the ladders."""
    rows = no_rows()
    for n, one in enumerate(model.ledger):
        call = Copied(RecordId(1, n), one.record, pack(one.record), None, None, None, None, one.context or None)
        add_rows(rows, keys.shard_of(one.record.account), n, call)
    paid: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for entry in rows.entries:
        named = dict(zip(ENTRY_COLUMNS, entry, strict=True))
        key = named["account"], named["epoch"], named["n"], named["usage_line"]
        paid.setdefault(key, []).append(tuple(named[name] for name in ("seq", "bucket", "kind", "amount", "after")))
    pieces: list[Charged] = []
    for usage in rows.usages:
        named = dict(zip(USAGE_COLUMNS, usage, strict=True))
        if not (named["used"] or named["granted"] or named["cost"]):
            continue
        first, *more = paid.get((named["account"], named["epoch"], named["n"], named["line"]), [(None,) * 5])
        named |= dict(zip(("seq", "bucket", "kind", "amount", "after"), first, strict=True))
        pieces.append((ReplayedPiece(**{name: named[name] for name in ReplayedPiece._fields}), more))
    pieces.sort(key=lambda one: tuple(one[0][:4]))
    return pieces, rows.ladders


def exchanges_none() -> Exchanges:
    return Exchanges()


def instants_of(model: Model) -> dict[Call, int]:
    """When each call was made: PostgreSQL knows for 30 days."""
    return {(one.record.account, 1, n): one.record.event_ms for n, one in enumerate(model.ledger)}


def replay(
    pieces: Iterable[Charged],
    ladders: Mapping[bytes, bytes],
    draft: Tariff,
    *stored: Tariff,
    exchanges: Exchanges | None = None,
    places: Iterable[str] = (),
    instants: Mapping[Call, int] = {},
) -> list[Result]:
    """With the draft in its own place, and in that of others."""
    known = Ladders()
    for key, packed in ladders.items():
        known.add(key, packed)
    prices = Prices(
        dict.fromkeys((draft.name, *places), (draft,)),
        {(one.name, one.version): one for one in stored},
        exchanges or Exchanges(),
        {},
    )
    return Replay(prices, known).run(pieces, instants=instants)
