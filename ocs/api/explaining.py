"""Stored facts -> explanations: pieces of use told by the ladders kept with them, tariffs asked again in the versions
that priced them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from balances.ledger import history
from balances.ledger.record import ladder_hash
from balances.ledger.usage import UsagePiece
from balances.packing import unpack_ladder
from balances.structs.charge import Flag, Phase, Result, Suspense
from ocs.api import schema_prices as schema
from ocs.api.texts import money, time_of
from ocs.api.views import KINDS, quantity
from ocs.master import tariffs
from ocs.master.documents import compiled
from tariffs import phrases
from tariffs.calendar import zone
from tariffs.catalog import Assignment, Catalog, Exchanges
from tariffs.explain import Explanation, explain
from tariffs.inputs import Inputs
from tariffs.ladder import Ladder
from tariffs.notation import Amount
from tariffs.rating import rate
from tariffs.replay_trace import Recorded, Told, tell
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange
from tariffs.units import Kind

if TYPE_CHECKING:
    from asyncpg import Pool

_JSON: Final = msgspec.json.Decoder(Inputs)

PHASES: Final[dict[int, Literal["start", "update", "stop", "event", "record"]]] = {
    Phase.START: "start",
    Phase.UPDATE: "update",
    Phase.STOP: "stop",
    Phase.EVENT: "event",
    Phase.RECORD: "record",
}


def told(pieces: Sequence[UsagePiece]) -> list[schema.PieceExplained]:
    """All pieces of a session, line by line, in their order."""
    lines: dict[tuple[int, ...], list[UsagePiece]] = {}
    for piece in pieces:
        if piece.used > 0:
            key: tuple[int, ...] = piece.incarnation, piece.rating_group, piece.service_id, piece.secondary
            if piece.phase == Phase.EVENT:
                key = piece.epoch, piece.n, *key
            lines.setdefault(key, []).append(piece)
    stories: dict[tuple[int, int, int], Told] = {}
    for line in lines.values():
        for piece, story in zip(line, tell(_recorded(line)), strict=True):
            stories[piece.epoch, piece.n, piece.line] = story
    return [_piece(piece, stories.get((piece.epoch, piece.n, piece.line))) for piece in pieces]


def _recorded(pieces: Iterable[UsagePiece]) -> Iterable[Recorded]:
    for piece in pieces:
        units = [(paid.kind, paid.bucket, -paid.amount) for paid in piece.paid if paid.kind != Kind.MONEY]
        ladder = unpack_ladder(piece.ladder) if piece.ladder else None
        yield Recorded(piece.unit, piece.used, piece.total, piece.at_ms, piece.cost, ladder, piece.counters, units)


def _piece(piece: UsagePiece, story: Told | None) -> schema.PieceExplained:
    ladder = unpack_ladder(piece.ladder) if piece.ladder else None
    rungs = story.rungs if story else []
    return schema.PieceExplained(
        usage=f"{piece.epoch}-{piece.n}/{piece.line}",
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
        ladder=phrases.ladder(ladder, piece.unit, zone(_inputs(piece).time_zone or "UTC"), piece.currency)
        if ladder
        else [],
        counters=piece.counters,
        stood=phrases.stood(ladder, piece.unit, piece.counters, piece.currency) if ladder else [],
        blocks=phrases.rungs(ladder, piece.unit, rungs) if ladder else [],
        reproduced=story is None or story.cost == piece.cost,
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


def _inputs(piece: UsagePiece) -> Inputs:
    if piece.inputs is None:
        return Inputs(piece.service)
    return _JSON.decode(piece.inputs)


async def rated_again(pool: Pool, account: str, piece: UsagePiece) -> tuple[Explanation | None, bool]:
    """By the versions that its tag names, with the facts and at the time on record; and whether they make the ladder
    that is kept. None: no tariff priced it."""
    versions = await _versions(pool, piece.tag)
    if not versions:
        return None, False
    inputs, chain = await _rated_with(pool, account, piece), [Assignment(one.name) for one in versions]
    catalog = Catalog(versions, exchanges=_exchanges(piece, versions))
    line = (
        None if piece.rating_group < 0 else piece.rating_group,
        None if piece.service_id < 0 else piece.service_id,
    )
    at_ms = piece.at_ms - (piece.used * 1_000 if piece.unit == Kind.SECONDS else 0)
    explanation = explain(catalog, chain, piece.currency, line, inputs, at_ms)
    (rated,) = rate(catalog, chain, piece.currency, [line], inputs, at_ms)
    made = rated.beside.ladder if piece.secondary and rated.beside else rated.ladder
    return explanation, made is not None and piece.ladder is not None and _alike(made, unpack_ladder(piece.ladder))


def _alike(one: Ladder, other: Ladder) -> bool:
    """Bands that follow are known further or less far, by when it was asked."""
    steps = min(len(one.steps), len(other.steps))
    bare = [
        msgspec.structs.replace(
            ladder,
            steps=tuple(msgspec.structs.replace(step, until_ms=0) for step in ladder.steps[:steps]),
            counts=(),
        )
        for ladder in (one, other)
    ]
    return bare[0] == bare[1]


async def _rated_with(pool: Pool, account: str, piece: UsagePiece) -> Inputs:
    """What the ladder of a piece was made from: a report is settled by the ladder of the grant before it, and may tell
    what counts from the next one on."""
    if piece.ladder and piece.used and piece.phase in (Phase.UPDATE, Phase.STOP):
        line = (piece.incarnation, piece.rating_group, piece.service_id, piece.secondary)
        found = await history.grants(pool, [(account, piece.epoch, piece.n, piece.session, *line)])
        _, _, _, inputs, ladder, _ = found.get(0, (None,) * 6)
        if inputs is not None and ladder == ladder_hash(piece.ladder):
            return _JSON.decode(inputs)
    return _inputs(piece)


async def _versions(pool: Pool, tag: str) -> list[Tariff]:
    """ "data@3+april@1:row" -> the tariff, then the promotions that changed it."""
    found = []
    for name in tag.partition(":")[0].split("+"):
        id_, at, number = name.rpartition("@")
        document = await tariffs.get(pool, id_, int(number)) if at and number.isdecimal() else None
        if document is None:
            return []
        async with pool.acquire() as db:
            files: dict[str, bytes] = {one.name: one.content for one in await tariffs.files_of(db, [document])}
        found.append(compiled(document, files))
    return found


def _exchanges(piece: UsagePiece, versions: Sequence[Tariff]) -> Exchanges:
    """The rate that was used, as the record has it."""
    rate_text = next((part[5:] for part in piece.terms.split(";") if part.startswith("rate=")), "")
    if not rate_text:
        return Exchanges()
    exchange = CurrencyExchange(Amount.read(rate_text), rate_text, time_of(piece.at_ms)[:10])
    pairs: dict[tuple[str, str], list[tuple[int, Any]]] = {(versions[0].currency, piece.currency): [(0, exchange)]}
    return Exchanges(pairs)
