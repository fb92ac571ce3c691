"""Usage records of an account: what was used, granted and refused, also at price 0, as it is on record."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from balances.ledger import usage
from balances.ledger.usage import UsageFilter, UsageKey, UsageRow
from ocs.backoffice import accounts
from ocs.backoffice.errors import Invalid
from ocs.backoffice.statements import check_period

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

AT_ONCE: Final = 1_000
_KEY: Final = re.compile(r"(\d{1,16})-(\d{1,16})/(\d{1,4})", re.ASCII)


def key_of(named: str) -> UsageKey:
    """Of a usage record, as answers name it: `<epoch>-<n>/<line>`; "" is before all."""
    if not named:
        return UsageKey(0, 0, -1)
    found = _KEY.fullmatch(named)
    if found is None:
        raise Invalid("after", f"the `usage` of a record, such as 1767225600-17/0, found {named!r}")
    return UsageKey(*map(int, found.groups()))


async def page(
    backoffice: BackOffice, account: str, wanted: UsageFilter, after: UsageKey, limit: int
) -> Sequence[UsageRow]:
    """Some records in the order in which they were charged, from PostgreSQL, which follows within a second."""
    check_period(wanted.from_ms, wanted.until_ms)
    row = await accounts.find(backoffice, account)
    return await usage.page(backoffice.pool, row.id, wanted, after, limit)


async def all_pages(backoffice: BackOffice, account: str, wanted: UsageFilter) -> AsyncIterator[Sequence[UsageRow]]:
    """All that are wanted, some at a time."""
    after = key_of("")
    while rows := await usage.page(backoffice.pool, account, wanted, after, AT_ONCE):
        yield rows
        after = rows[-1].key
