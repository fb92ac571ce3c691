"""What a care desk looks for: whatever a caller says, a number in any spelling, an id, a customer, a tag; and accounts
by their state and their money."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from balances.ledger.standings import Standing, read
from ocs.charging.identity import spellings
from ocs.master import account_search, accounts, subscribers
from ocs.master.account_search import WantedStandings
from ocs.master.accounts import AccountRow

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.subscribers import Subscriber

FOUND_MAX: Final = 100
"""Of accounts, and as many subscribers: who finds more says more."""


class FoundAccount(NamedTuple):
    row: AccountRow
    standing: Standing | None
    """None: no record of it is copied yet."""


async def search(backoffice: BackOffice, text: str) -> tuple[Sequence[FoundAccount], Sequence[Subscriber]]:
    """Accounts and subscribers that are, or have, what the text says; the accounts of those subscribers are among
    them."""
    people = await _people(backoffice, text)
    rows = await accounts.named(backoffice.pool, text.strip(), _payers(people), FOUND_MAX)
    return await _standing(backoffice, rows), people


async def _people(backoffice: BackOffice, text: str) -> Sequence[Subscriber]:
    return await subscribers.named(backoffice.pool, text.strip(), spellings(text), FOUND_MAX)


def _payers(people: Sequence[Subscriber]) -> set[str]:
    return {account for one in people for account in one.accounts}


async def _standing(backoffice: BackOffice, rows: Sequence[AccountRow]) -> list[FoundAccount]:
    standings = await read(backoffice.pool, [row.id for row in rows])
    return [FoundAccount(row, standings.get(row.id)) for row in rows]


async def of_people(backoffice: BackOffice, wanted: WantedStandings, identity: str | None) -> WantedStandings:
    """The same, only of accounts that pay for whoever has the identity, in any spelling."""
    if identity is None:
        return wanted
    payers = _payers(await _people(backoffice, identity))
    return msgspec.structs.replace(wanted, accounts=sorted(payers))


async def by_id(backoffice: BackOffice, wanted: WantedStandings, after: str, limit: int) -> list[FoundAccount]:
    """A page in the order of ids, after the given one: of a customer, with a tag, of some accounts."""
    found = await accounts.page(backoffice.pool, after, limit, wanted.customer, wanted.tag, wanted.accounts)
    return await _standing(backoffice, found)


async def by_standing(
    backoffice: BackOffice, wanted: WantedStandings, after: tuple[int, str], limit: int
) -> list[FoundAccount]:
    """A page in the order of free money, then of ids, after (free, id)."""
    standings = await account_search.standing(backoffice.pool, wanted, after, limit)
    rows = await accounts.page(backoffice.pool, "", limit, ids=[one.account for one in standings])
    known = {row.id: row for row in rows}
    return [FoundAccount(known[one.account], one) for one in standings if one.account in known]
