"""Why something cost what it did: pieces of use as they are on record, and tariffs asked again in the versions that
priced them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from balances.keys import session_keys_of
from balances.ledger import history, usage
from balances.ledger.kept import gone, kept, usage_since
from balances.ledger.record import ladder_hash
from balances.ledger.usage import UsagePiece
from balances.packing import unpack_ladder
from balances.structs.charge import Phase
from ocs.backoffice import accounts, sessions, suspense
from ocs.backoffice.errors import Forgotten, NotFound
from ocs.backoffice.rates import EPOCH
from ocs.master import tariffs
from ocs.master.documents import compiled
from tariffs.catalog import Assignment, Catalog, Exchanges
from tariffs.explain import Explanation, explain
from tariffs.inputs import Inputs
from tariffs.ladder import Ladder
from tariffs.notation import Amount
from tariffs.rating import rate
from tariffs.tags import without_tags
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange
from tariffs.units import Kind

if TYPE_CHECKING:
    from asyncpg import Pool

    from ocs.backoffice.backoffice import BackOffice
    from ocs.backoffice.suspense import SuspenseRow

_JSON: Final = msgspec.json.Decoder(Inputs)


class ExplainedEntry(NamedTuple):
    entry: Mapping[str, Any]
    """Of the ledger."""
    piece: UsagePiece | None
    """The use it is of; None: it is of none."""
    pieces: Sequence[UsagePiece]
    """All of that session."""
    rating: Explanation | None
    same_ladder: bool
    """The tariffs of then make the ladder that is kept."""
    corrections: list[int]
    """Entries that corrected it."""


async def of_entry(backoffice: BackOffice, account: str, seq: int) -> ExplainedEntry:
    """Explain a ledger entry from what is stored with it, so the result is the same years later."""
    await accounts.find(backoffice, account)
    entry, piece = await usage.of_entry(backoffice.pool, account, seq)
    if entry is None:
        if why := await gone(backoffice.pool, account, seq):
            raise Forgotten(f"account {account} has no entry {seq} any more: {why}")
        raise NotFound(f"account {account} has no entry {seq}")
    pieces, rating, same = list[UsagePiece](), None, False
    if piece is not None:
        pieces = await usage.of_session(backoffice.pool, account, piece.session)
        rating, same = await _rated_again(backoffice.pool, account, piece)
    return ExplainedEntry(entry, piece, pieces, rating, same, await usage.taken_back(backoffice.pool, account, seq))


class ExplainedSession(NamedTuple):
    session: str
    """Its key."""
    account: str
    pieces: Sequence[UsagePiece]
    aside: Sequence[SuspenseRow]


async def of_session(backoffice: BackOffice, named: str, account: str | None) -> ExplainedSession:
    """By key or Session-Id. account: who paid; None: it is looked up, which works for 30 days."""
    payer, pieces, session = account, list[UsagePiece](), named
    for session in session_keys_of(named):
        payer = account or await sessions.account_of(backoffice, session)
        pieces = await usage.of_session(backoffice.pool, payer, session) if payer is not None else []
        if pieces:
            break
    if payer is None:
        raise NotFound(f"there is no session {named} of the last 30 days: say whose, by `account`")
    if not pieces:
        since = (await kept(backoffice.pool)).usage_from_ms
        text = f"account {payer} has no records of a session {named}"
        raise Forgotten(f"{text}; {usage_since(since)}") if since else NotFound(text)
    return ExplainedSession(session, payer, pieces, await suspense.of_session(backoffice, payer, session))


def inputs_of(piece: UsagePiece) -> Inputs:
    """The rating inputs on record."""
    if piece.inputs is None:
        return Inputs(piece.service)
    return _JSON.decode(piece.inputs)


async def _rated_again(pool: Pool, account: str, piece: UsagePiece) -> tuple[Explanation | None, bool]:
    """Rate again by the versions that the tag names, with the facts and the time on record; and whether that gives
    the ladder that is kept. None: no tariff priced it."""
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
    """Whether two ladders price alike as far as both go: how many later bands one knows depends on when it was
    made."""
    steps = min(len(one.steps), len(other.steps))
    bare = [
        msgspec.structs.replace(
            ladder,
            steps=tuple(msgspec.structs.replace(step, until_ms=0) for step in ladder.steps[:steps]),
            counts=(),
            terms=without_tags(ladder.terms),
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
    return inputs_of(piece)


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
    """The exchange rate on record, in place of the stored ones."""
    rate_text = next((part[5:] for part in piece.terms.split(";") if part.startswith("rate=")), "")
    if not rate_text:
        return Exchanges()
    exchange = CurrencyExchange(Amount.read(rate_text), rate_text, _day(piece.at_ms))
    pairs: dict[tuple[str, str], list[tuple[int, Any]]] = {(versions[0].currency, piece.currency): [(0, exchange)]}
    return Exchanges(pairs)


def _day(at_ms: int) -> str:
    """The day of an instant, in UTC."""
    return (EPOCH + timedelta(milliseconds=at_ms)).isoformat()
