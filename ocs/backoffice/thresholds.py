"""Notification thresholds of accounts, and lines of suspension of single services (charging.md section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from balances.structs.account import Account
from balances.structs.posting import AccountSettings
from balances.structs.thresholds import THRESHOLDS_MAX, ServiceSuspension, Threshold
from ocs.backoffice.changing import Check, change_settings
from ocs.backoffice.errors import Conflict, Invalid, NotFound
from ocs.master.default_thresholds import brought, merged
from tariffs.thresholds import NAME, NAME_IN_WORDS

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

REFUSED: Final = Invalid("", "levels that the account could never be at rest with")


async def put_threshold(
    backoffice: BackOffice, account: str, wanted: Threshold, actor: str, check: Check
) -> tuple[Account, bool]:
    """Set a threshold; returns the account, and whether the threshold is new."""
    if not NAME.fullmatch(wanted.name):
        raise Invalid("threshold", f"{NAME_IN_WORDS}, found {wanted.name[:80]!r}")
    await _check_service(backoffice, wanted.service)
    is_new = True

    async def change(now: Account, settings: AccountSettings) -> None:
        nonlocal is_new
        others = [one for one in now.thresholds if not one.tariff and one.name != wanted.name]
        is_new = all(one.name != wanted.name for one in now.thresholds)
        _check_room(others, "threshold", "notification thresholds")
        settings.thresholds = merged([*others, wanted], [one for one in now.thresholds if one.tariff])

    return await change_settings(backoffice, account, change, actor, check, REFUSED), is_new


async def delete_threshold(backoffice: BackOffice, account: str, name: str, actor: str, check: Check) -> None:
    """Take one of the account's own away; then what its tariffs bring under that name counts."""

    async def change(now: Account, settings: AccountSettings) -> None:
        found = next((one for one in now.thresholds if one.name == name), None)
        if found is None:
            raise NotFound(f"account {account} has no threshold {name}")
        if found.tariff:
            raise Conflict(f"threshold {name} is brought by tariff {found.tariff}: one of that name replaces it")
        own = [one for one in now.thresholds if not one.tariff and one.name != name]
        # Read after the account: a change in between raises its revision.
        async with backoffice.pool.acquire() as db:
            defaults = await brought(db, {account: now.currency}, settings.now_ms)
        settings.thresholds = merged(own, defaults[account].thresholds)

    await change_settings(backoffice, account, change, actor, check, REFUSED)


async def put_service(
    backoffice: BackOffice, account: str, wanted: ServiceSuspension, actor: str, check: Check
) -> tuple[Account, bool]:
    """Give a service a line of its own; returns the account, and whether the service had none."""
    await _check_service(backoffice, wanted.service)
    if wanted.resume_at < wanted.suspend_below:
        raise Invalid("resume_at", "not below suspend_below, or the service would never be at rest")
    is_new = True

    async def change(now: Account, settings: AccountSettings) -> None:
        nonlocal is_new
        others = [one for one in now.services if one.service != wanted.service]
        is_new = len(others) == len(now.services)
        _check_room(others, "service", "services with a line of their own")
        settings.services = sorted([*others, wanted], key=lambda one: one.service)

    return await change_settings(backoffice, account, change, actor, check, REFUSED), is_new


async def delete_service(backoffice: BackOffice, account: str, service: str, actor: str, check: Check) -> None:
    """Take the line of a service away: the account's own counts for it then."""

    async def change(now: Account, settings: AccountSettings) -> None:
        settings.services = [one for one in now.services if one.service != service]
        if len(settings.services) == len(now.services):
            raise NotFound(f"account {account} has no line of its own for service {service}")

    await change_settings(backoffice, account, change, actor, check, REFUSED)


async def _check_service(backoffice: BackOffice, service: str) -> None:
    services = (await backoffice.context()).settings.services.by_name
    if service and service not in services:
        raise Invalid("service", f"expected a service ({', '.join(sorted(services))}), found {service}")


def _check_room(others: Sequence[object], field: str, things: str) -> None:
    if len(others) >= THRESHOLDS_MAX:
        raise Invalid(field, f"at most {THRESHOLDS_MAX} {things} an account")
