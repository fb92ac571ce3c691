"""What a care desk looks for with whatever a caller says: a number in any spelling, an id, a customer, a tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ocs.charging.identity import spellings
from ocs.master import accounts, subscribers

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow
    from ocs.master.subscribers import Subscriber

FOUND_MAX: Final = 100
"""Of accounts, and as many subscribers: who finds more says more."""


async def search(backoffice: BackOffice, text: str) -> tuple[Sequence[AccountRow], Sequence[Subscriber]]:
    """Accounts and subscribers that are, or have, what the text says; the accounts of those subscribers are among
    them."""
    people = await subscribers.named(backoffice.pool, text.strip(), spellings(text), FOUND_MAX)
    payers = {account for one in people for account in one.accounts}
    return await accounts.named(backoffice.pool, text.strip(), payers, FOUND_MAX), people
