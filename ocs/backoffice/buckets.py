"""What is set of a bucket that is there (charging.md section 22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balances.structs.account import MAIN, Account, Bucket
from balances.structs.posting import AccountSettings, BucketSetting
from ocs.backoffice.changing import Check, change_settings
from ocs.backoffice.errors import NotFound

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


def money_of(account: Account, bucket: int) -> Bucket | None:
    """The money beside the units of this bucket, if it has any."""
    return next((one for one in account.buckets if one.part_of == bucket), None) if bucket != MAIN else None


async def put(
    backoffice: BackOffice, account: str, wanted: BucketSetting, actor: str, check: Check
) -> tuple[Account, Bucket]:
    """Set it; returns the account, and the bucket as it is then. Where it has money beside units, that blocks."""

    async def change(account: Account, settings: AccountSettings) -> None:
        money = money_of(account, wanted.bucket)
        settings.buckets = [wanted]
        if money is not None:  # its units never do: a build before may have let them
            settings.buckets = [BucketSetting(wanted.bucket, blocker=False), BucketSetting(money.id, wanted.blocker)]

    refused = NotFound(f"account {account} has no bucket {wanted.bucket} beside its main balance")
    found = await change_settings(backoffice, account, change, actor, check, refused)
    return found, next(one for one in found.buckets if one.id == wanted.bucket)
