"""Export: every account as the live store has it now, then every subscriber, then vouchers, a page at a time, in the
order of ids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from balances import keys
from balances.packing import ACCOUNT_FIELD, unpack_account
from balances.structs.account import Account
from ocs.backoffice.accounts import read
from ocs.master import accounts, fee_assignments, limits, subscribers, vouchers
from ocs.master.accounts import AccountRow
from ocs.master.brought_vouchers import BroughtLot, lot_of
from ocs.master.fee_assignments import BegunFees, NamedFee
from ocs.master.limits import LimitOwner
from ocs.master.subscribers import Subscriber
from ocs.master.vouchers import LOT, BatchRow
from tariffs.limits import SpendingLimit

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

AT_ONCE: Final = 500


class ExportedAccount(NamedTuple):
    row: AccountRow
    account: Account
    limits: Sequence[SpendingLimit]
    fees: Mapping[str, NamedFee] = {}
    """What the chains of its recurring fees are of."""


class ExportedSubscriber(NamedTuple):
    subscriber: Subscriber
    password: str | None
    """As it is kept; None: it has none, or it was not asked for."""
    limits: Sequence[SpendingLimit]
    fees: Sequence[BegunFees] = ()


async def all_accounts(backoffice: BackOffice, after: str) -> AsyncIterator[list[ExportedAccount]]:
    """After the given id. One that the live store lacks is brought in."""
    while rows := await accounts.page(backoffice.pool, after, AT_ONCE):
        own = await limits.of_all(backoffice.pool, {LimitOwner(account=row.id) for row in rows})
        live = await _live(backoffice, rows)
        fees = await fee_assignments.running_of(backoffice.pool, [row.id for row in rows], backoffice.now_ms())
        yield [
            ExportedAccount(row, account, own.get(LimitOwner(account=row.id), ()), fees.get(row.id, {}))
            for row, account in zip(rows, live, strict=True)
        ]
        after = rows[-1].id


async def all_vouchers(
    backoffice: BackOffice, batch: str, first: int
) -> AsyncIterator[tuple[BatchRow, BroughtLot | None]]:
    """Every batch, and then its vouchers, a lot at a time; after those of a batch that begin with a serial number (0:
    after the batch itself; "": from the beginning)."""
    if batch and (row := await vouchers.get(backoffice.pool, batch)) is not None:
        async for lot in _lots(backoffice, row, first + LOT if first else 1):
            yield row, lot
    while rows := await vouchers.page(backoffice.pool, batch, AT_ONCE):
        for row in rows:
            yield row, None
            async for lot in _lots(backoffice, row, 1):
                yield row, lot
        batch = rows[-1]["id"]


async def _lots(backoffice: BackOffice, row: BatchRow, first: int) -> AsyncIterator[BroughtLot]:
    while (lot := await lot_of(backoffice.pool, row, first)) is not None:
        yield lot
        first = lot.first + len(lot.digests)


async def _live(backoffice: BackOffice, rows: Sequence[AccountRow]) -> list[Account]:
    redis: Any = backoffice.redis
    pipe = redis.pipeline(transaction=False)
    for row in rows:
        pipe.hget(keys.account(row.id), ACCOUNT_FIELD)
    packed = await backoffice.bounded(pipe.execute())
    return [
        unpack_account(found) if found is not None else (await read(backoffice, row))[0]
        for row, found in zip(rows, packed, strict=True)
    ]


async def all_subscribers(
    backoffice: BackOffice, after: str, *, passwords: bool
) -> AsyncIterator[list[ExportedSubscriber]]:
    """After the given id."""
    while people := await subscribers.page(backoffice.pool, None, after, AT_ONCE):
        own = await limits.of_all(backoffice.pool, {LimitOwner(subscriber=one.id) for one in people})
        ids = [one.id for one in people]
        kept = await subscribers.stored_passwords(backoffice.pool, ids) if passwords else {}
        fees = await fee_assignments.begun_of(backoffice.pool, ids, backoffice.now_ms())
        yield [
            ExportedSubscriber(one, kept.get(one.id), own.get(LimitOwner(subscriber=one.id), ()), fees.get(one.id, ()))
            for one in people
        ]
        after = people[-1].id
