"""Own money paid out, and debt written off (charging.md section 17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balances.structs.account import MAIN, SuspendReasons
from balances.structs.posting import Posting, PostingOutcome
from balances.structs.record import CounterAccount
from ocs.backoffice import accounts, postings
from ocs.backoffice.postings import Amounts, Order
from tariffs.units import EXACT_MAX, Kind

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow


async def pay_out(
    backoffice: BackOffice, account: str, amount: int | None, order: Order
) -> tuple[AccountRow, PostingOutcome]:
    """Own money that nobody holds goes out. amount: in micro-units; None: all there is of it when it is done."""
    row = await accounts.find(backoffice, account)

    async def free() -> Amounts:
        now, _ = await accounts.read(backoffice, row)
        return {Kind.MONEY: max(sum(one.amount - one.held for one in now.buckets if one.id == MAIN), 0)}

    posting = Posting(
        *(MAIN, Kind.MONEY, -EXACT_MAX if amount is None else -amount, CounterAccount.PAYOUT, "payout"),
        up_to=amount is None,
    )
    return row, await postings.post_one(
        backoffice,
        row,
        posting,
        order,
        own_only=True,
        denied_in=SuspendReasons.FRAUD,
        moved=free if amount is None else None,
    )


async def write_off(backoffice: BackOffice, account: str, order: Order) -> tuple[AccountRow, PostingOutcome]:
    """The debt of the main balance becomes zero, whatever it is when it is done."""
    row = await accounts.find(backoffice, account)

    async def debt() -> Amounts:
        now, _ = await accounts.read(backoffice, row)
        return {Kind.MONEY: max(-sum(one.amount for one in now.buckets if one.id == MAIN), 0)}

    posting = Posting(MAIN, Kind.MONEY, EXACT_MAX, CounterAccount.WRITE_OFF, "write-off", up_to=True)
    return row, await postings.post_one(backoffice, row, posting, order, moved=debt)
