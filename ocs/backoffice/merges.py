"""Merges: one account goes into another one, with its subscribers and all it has (charging.md section 17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from balances.ledger import transfers as legs
from balances.structs.account import SuspendReasons
from ocs.backoffice import accounts, postings, transfers
from ocs.backoffice.allowances import allow, take_back
from ocs.backoffice.errors import AccountClosed, Conflict, Invalid, KeyReused, NotFound
from ocs.backoffice.postings import Order, closed
from ocs.backoffice.transfers import TransferRow
from ocs.master import subscribers
from ocs.master.changes import change

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow

SUBSCRIBERS_MAX: Final = 1_000
"""They move together, in one transaction."""


class WantedMerge(NamedTuple):
    """`source` ends, `target` gets it all."""

    source: str
    target: str


async def merge(backoffice: BackOffice, wanted: WantedMerge, order: Order) -> TransferRow:
    """Merge, once per key of the order. The row says how far it is: it waits while something of the account is held.
    TransferReturned: the other account did not take what it had."""
    source, target = wanted
    if source == target:
        raise Invalid("into", "another account")
    row, into = await accounts.find(backoffice, source), await _target(backoffice, target)
    if row.currency != into.currency:
        raise Invalid("into", f"an account in {row.currency}, as {source} is; {target} is in {into.currency}")
    id_ = legs.transfer_id(source, f"merge {order.key}")
    known = await legs.read(backoffice.pool, id_)
    if known is None:
        for one in (row, into):
            if (await accounts.read(backoffice, one))[0].state & SuspendReasons.CLOSED:
                raise AccountClosed(closed(one.id))
        known = await _allowed(backoffice, id_, row, target, order)
    if known["target"] != target or known["reason"] != order.reason:
        raise KeyReused
    return await transfers.finish(backoffice, known)


async def _target(backoffice: BackOffice, target: str) -> AccountRow:
    try:
        return await accounts.find(backoffice, target)
    except NotFound:
        raise Invalid("into", f"there is no account {target}") from None


async def _allowed(backoffice: BackOffice, id_: str, row: AccountRow, target: str, order: Order) -> TransferRow:
    """What the account has now is compared with what the caller may move; what comes in until then goes along."""
    amounts = await postings.at_rest(backoffice, row, backoffice.now_ms())
    counted = await allow(backoffice, order.warrant, row, amounts, order.key)
    try:
        return await _order(backoffice, id_, row, target, order)
    except (Conflict, Invalid):  # in the transaction, so nothing was ordered
        await take_back(backoffice, counted)
        raise


async def _order(backoffice: BackOffice, id_: str, row: AccountRow, target: str, order: Order) -> TransferRow:
    """The subscribers move and the merge is on record, or neither."""
    now_ms = backoffice.now_ms()
    async with change(backoffice.pool) as (db, number):
        said = (id_, row.id, target, row.currency, now_ms, order.actor, order.reason, order.reference, order.tags)
        if await legs.order_merge(db, said):
            other = await legs.merging(db, id_, row.id, target)
            if other is not None:
                raise Conflict(f"{other['source']} is being merged into {other['target']}: wait for that")
            await subscribers.move_all(db, number, row.id, target, now_ms, SUBSCRIBERS_MAX)
    await backoffice.publish()
    found = await legs.read(backoffice.pool, id_)
    assert found is not None
    return found
