"""Explains recorded pieces of use by the ladders stored with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from balances.ledger.terms import tags_in
from balances.ledger.usage import UsagePiece
from balances.packing import unpack_ladder
from balances.structs.charge import Flag, Phase, Result, Suspense
from ocs.api import schema_prices as schema
from ocs.api.texts import time_of
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.explanations import inputs_of
from tariffs import phrases
from tariffs.calendar import zone
from tariffs.replay_trace import PieceTrace, Recorded, trace_pieces
from tariffs.session_total import SessionTotal
from tariffs.units import Kind

PHASES: Final[dict[int, Literal["start", "update", "stop", "event", "record"]]] = {
    Phase.START: "start",
    Phase.UPDATE: "update",
    Phase.STOP: "stop",
    Phase.EVENT: "event",
    Phase.RECORD: "record",
}


def told(pieces: Sequence[UsagePiece]) -> list[schema.PieceExplained]:
    """Explain all pieces of a session, line by line, in their order."""
    lines: dict[tuple[int, ...], list[UsagePiece]] = {}
    for piece in pieces:
        if piece.used > 0:
            key: tuple[int, ...] = piece.incarnation, piece.rating_group, piece.service_id, piece.secondary
            if piece.phase == Phase.EVENT:
                key = piece.epoch, piece.n, *key
            lines.setdefault(key, []).append(piece)
    traces: dict[tuple[int, int, int], PieceTrace] = {}
    for line in lines.values():
        for piece, trace in zip(line, trace_pieces(_recorded(line)), strict=True):
            traces[piece.epoch, piece.n, piece.line] = trace
    totals: dict[tuple[int, ...], SessionTotal] = {}
    return [_piece(piece, _rounded(piece, traces.get((piece.epoch, piece.n, piece.line)), totals)) for piece in pieces]


def _rounded(
    piece: UsagePiece, trace: PieceTrace | None, totals: dict[tuple[int, ...], SessionTotal]
) -> tuple[PieceTrace | None, list[str]]:
    """What is due of it where its session is rounded, and why. An event is a session of its own."""
    ladder = unpack_ladder(piece.ladder) if piece.ladder else None
    if trace is None or ladder is None or not ladder.sum_to:
        return trace, []
    key = (piece.epoch, piece.n) if piece.phase == Phase.EVENT else (piece.incarnation,)
    total = totals.setdefault(key, SessionTotal())
    due = total.due(ladder, trace.cost)
    return PieceTrace(trace.rungs, due), phrases.session_sum(ladder, total.exact(ladder))


def usage_of(piece: UsagePiece) -> str:
    """Reference of the usage record of a piece."""
    return f"{piece.epoch}-{piece.n}/{piece.line}"


def _recorded(pieces: Iterable[UsagePiece]) -> Iterable[Recorded]:
    for piece in pieces:
        units = [(paid.kind, paid.bucket, -paid.amount) for paid in piece.paid if paid.kind != Kind.MONEY]
        ladder = unpack_ladder(piece.ladder) if piece.ladder else None
        yield Recorded(
            piece.unit, piece.used, piece.total, piece.at_ms, piece.cost - piece.priced, ladder, piece.counters, units
        )


def _piece(piece: UsagePiece, traced: tuple[PieceTrace | None, list[str]]) -> schema.PieceExplained:
    trace, session = traced
    ladder = msgspec.structs.replace(unpack_ladder(piece.ladder), terms=piece.terms) if piece.ladder else None
    rungs = trace.rungs if trace else []
    return schema.PieceExplained(
        usage=usage_of(piece),
        time=time_of(piece.at_ms),
        incarnation=piece.incarnation,
        phase=PHASES[piece.phase],
        service=piece.service,
        rating_group=None if piece.rating_group < 0 else piece.rating_group,
        service_identifier=None if piece.service_id < 0 else piece.service_id,
        beside=bool(piece.secondary),
        unit=KINDS[piece.unit],
        used=piece.used,
        set_aside=quantity(piece.unit, piece.suspense),
        set_aside_for=Suspense(piece.set_aside).word or None,
        total=piece.total,
        granted=piece.granted,
        result=Result(piece.result).name.lower().replace("_", " "),
        flags=[str(flag.name).lower().replace("_", " ") for flag in Flag if piece.flags & flag],
        cost=money(piece.cost),
        tariff=piece.tag,
        tags=tags_in(piece.terms),
        ladder=phrases.ladder(ladder, piece.unit, zone(inputs_of(piece).time_zone or "UTC"), piece.currency)
        if ladder
        else [],
        counters=piece.counters,
        stood=phrases.stood(ladder, piece.unit, piece.counters, piece.currency) if ladder else [],
        blocks=[*phrases.rungs(ladder, piece.unit, rungs), *session, *phrases.bucket_prices(piece.priced)]
        if ladder
        else [],
        reproduced=trace is None or trace.cost == piece.cost - piece.priced,
        paid=[
            schema.Payment(
                seq=paid.seq,
                bucket=paid.bucket,
                kind=KINDS[paid.kind],
                amount=quantity(paid.kind, paid.amount),
                balance_after=quantity(paid.kind, paid.after),
                net=None if paid.net is None else money(paid.net),
                tax=None if paid.tax is None else money(paid.tax),
                exchange_rate=paid.rate,
            )
            for paid in piece.paid
        ],
        corrections=[
            schema.CorrectionExplained(one.seq, time_of(one.at_ms), money(one.amount), one.reason)
            for one in piece.corrections
        ],
    )
