"""Changes an account's settings as they are now; anew, if somebody else changes them meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from balances.packing import unpack_account
from balances.structs.account import Account
from balances.structs.posting import AccountSettings
from ocs.backoffice import accounts
from ocs.backoffice.errors import BackOfficeError, VersionConflict

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

TRIES: Final = 10
"""How often a change is made anew because another one came in between."""

Check = Callable[[int], None]
"""Raises VersionConflict where the revision of the account is not the one that was expected."""

Change = Callable[[Account, AccountSettings], Awaitable[None]]
"""Says what an account, as it is now, is to be."""


async def change_settings(
    backoffice: BackOffice, account: str, change: Change, actor: str, check: Check, refused: BackOfficeError
) -> Account:
    """The account as it is afterwards.

    refused: raised where the live store does
    """
    row = await accounts.find(backoffice, account)
    for _ in range(TRIES):
        now, _ = await accounts.read(backoffice, row)
        check(now.rev)
        settings = AccountSettings(account, backoffice.now_ms(), now.rev, actor=actor, reason="settings")
        await change(now, settings)
        reply = await accounts.call(backoffice, account, partial(backoffice.store.settings, settings))
        if reply.status == "ok":
            return unpack_account(reply.outcome)
        if reply.status == "refused":
            raise refused
    raise VersionConflict(f"account {account} is changed all the time: try again")
