"""Legs of transfers and merges that PostgreSQL, put back from a backup, lacks, and that no stream has any more
(durability.md rule 12). What they did to a balance is part of an entry `recovered`; that they were made is what the
live store's answers say, which are in `once` by then.

Such a leg is put in order by a posting that changes no balance: out of the `recovered` what the leg was, and the leg
itself against `transit`, under the transfer's id. So the transfer ends, or goes on, as any other one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger import transfers
from balances.ledger.transfers import KEPT_MS, TransferState
from balances.packing import unpack_posted
from balances.structs.account import MAIN
from balances.structs.blob import blob_of
from balances.structs.charge import Result
from balances.structs.posting import Post, Posting
from balances.structs.record import CounterAccount
from balances.structs.session import IdempotencyRecord
from tariffs.units import Kind

ACTOR: Final = "recovery"
WHY: Final = "recovered"
AT_ONCE: Final = 500
_ONCE: Final = msgspec.msgpack.Decoder(IdempotencyRecord)


class FoundLeg(NamedTuple):
    """One that the live store has the answer of, and the ledger no entry."""

    account: str
    transfer: str
    key: str
    currency: str
    amount: int
    """What it did to the main balance, in micro-units; 0: it was refused."""
    refused: int = 0
    """Why (Result)."""
    is_whole: bool = True
    """All of it was in the main bucket."""


class LegsFound(NamedTuple):
    posts: list[Post]
    """To be posted, in this order; each does it once."""
    refused: list[tuple[Any, ...]]
    """Rows of `balances.ledger.transfers.write`: the other account has refused them, for good."""
    by_hand: list[str]
    """Accounts with legs of which more than the main balance moved: a person compares both."""


# Brought back by recovery.py: no record of theirs is there.
_BROUGHT_BACK: Final = """
    SELECT o.account, o.key, o.state, a.currency FROM once o JOIN accounts a ON a.id = o.account
     WHERE o.epoch = 0 AND o.n = -1 AND (o.account, o.key) > ($1, $2)
       AND (starts_with(o.key, 'http ') OR starts_with(o.key, 'transfer') OR starts_with(o.key, 'merge '))
     ORDER BY o.account, o.key LIMIT $3
"""


async def find_legs(pool: Any, now_ms: int) -> LegsFound:
    """Of transfers that have not ended in PostgreSQL, or are not known there at all."""
    legs: list[FoundLeg] = []
    after = ("", "")
    while rows := await pool.fetch(_BROUGHT_BACK, *after, AT_ONCE):
        after = (rows[-1]["account"], rows[-1]["key"])
        legs += [leg for row in rows if (leg := _leg_of(row)) is not None]
    ids = list({leg.transfer for leg in legs})
    known = {row["id"]: row for row in await pool.fetch("SELECT * FROM transfers WHERE id = ANY($1)", ids)}
    return _put_in_order(legs, known, now_ms)


def _leg_of(row: Mapping[str, Any]) -> FoundLeg | None:
    key: str = row["key"]
    try:
        posted = unpack_posted(blob_of(_ONCE.decode(row["state"]).outcome))
    except msgspec.ValidationError:
        return None  # the answer of something else
    moved = [entry for entry in posted.entries if entry.counter_account == CounterAccount.TRANSIT]
    is_asked = key.startswith("http ")
    id_ = transfers.transfer_id(row["account"], key) if is_asked else key.partition(" ")[2]
    leg = FoundLeg(row["account"], id_, key, row["currency"], sum(one.amount for one in moved if one.bucket == MAIN))
    if posted.result != Result.OK:
        return leg._replace(amount=0, refused=posted.result) if key == keys.transfer_key(id_) else None
    if not moved or (is_asked and leg.amount >= 0):
        return None  # no leg, or a transfer inside the account
    return leg._replace(is_whole=all(one.bucket == MAIN and one.kind == Kind.MONEY for one in moved))


def _put_in_order(legs: Iterable[FoundLeg], known: Mapping[str, Mapping[str, Any]], now_ms: int) -> LegsFound:
    """A second leg before its first one: as soon as a first one is on record, whoever sees it alone goes on with it."""
    found = LegsFound([], [], [])
    by_transfer: dict[str, dict[str, FoundLeg]] = {}
    for leg in legs:
        stage = leg.key.partition(" ")[0] if keys.is_later_leg(leg.key) else "sent"
        by_transfer.setdefault(leg.transfer, {})[stage] = leg
    for id_, stages in sorted(by_transfer.items()):
        row, sent, came = known.get(id_), stages.get("sent"), stages.get("transfer")
        back = stages.get("transfer-return")
        if sent is not None and row is not None and row["sent_seq"] is not None:
            sent = None  # its record was copied all the same
        if row is None and sent is None:
            continue  # it left before, and has arrived: both are in `recovered`
        if row is not None and row["state"] >= TransferState.RECEIVED:
            came = back = None
        merges = (row is not None and row["merges"]) or (sent is not None and sent.key == keys.merge_key(id_))
        missing = [leg for leg in (came if came and not came.refused else None, back, sent) if leg is not None]
        if not all(leg.is_whole for leg in missing) or (merges and sent is not None and came is None):
            found.by_hand.extend(sorted({leg.account for leg in missing}))
            continue
        source = sent.account if sent else row["source"] if row else ""
        target = came.account if came else row["target"] if row else ""
        if came is not None and came.refused:
            amount = -sent.amount if sent else row["amount"] if row else 0
            found.refused.append((
                id_, source, target, amount, came.currency, TransferState.REFUSED, now_ms, None, None, None,
                ACTOR, "", "", came.refused, None, "",
            ))  # fmt: skip
        found.posts.extend(_post(leg, target if leg.account == source else source, now_ms) for leg in missing)
    return found


def _post(leg: FoundLeg, counterpart: str, now_ms: int) -> Post:
    """Only the split of `recovered`, so nothing of it can be refused. What lowers the balance comes before what fills
    it: percentages are of what there is."""
    parts = [
        Posting(MAIN, Kind.MONEY, -leg.amount, CounterAccount.SUSPENSE, WHY),
        Posting(MAIN, Kind.MONEY, leg.amount, CounterAccount.TRANSIT, "transfer"),
    ]
    return Post(
        account=leg.account,
        key=keys.found_leg_key(leg.key, leg.transfer),
        fingerprint=leg.transfer,
        now_ms=now_ms,
        remember_ms=KEPT_MS,
        actor=ACTOR,
        reason="its record was lost with PostgreSQL",
        reference="",
        postings=parts,
        transfer=leg.transfer,
        counterpart=counterpart,
    )
