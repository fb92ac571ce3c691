"""Subscribers: their identities, their tariffs, and the account that pays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocs.backoffice.errors import Invalid, NotFound
from ocs.charging.identity import canonical
from ocs.master import subscribers
from ocs.master.subscribers import Saved, Subscriber
from ocs.tags import undeclared
from tariffs.catalog import Assignment

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.changes import Expect


def identity_of(text: str) -> str:
    """An identity in its canonical spelling. Raises Invalid."""
    try:
        identity = canonical(text)
    except ValueError as why:
        raise Invalid("identities", str(why)) from None
    kind, _, value = identity.partition(":")
    if kind == "subscriber":
        raise Invalid("identities", "`subscriber:` is our own, every subscriber has it")
    if len(identity) > 255 or any(character < " " for character in identity):
        raise Invalid("identities", "too long, or with control characters")
    if kind in ("msisdn", "imsi") and not (value.isascii() and value.isdecimal() and 3 <= len(value) <= 18):
        raise Invalid("identities", f"{kind} has 3 to 18 digits, found {text!r}")
    return identity


def assignment_of(number: int, tariff: str, from_ms: int, until_ms: int) -> Assignment:
    """Of the tariff that stands at this place, from 0. Times of 0: without beginning, without end."""
    if from_ms < 0 or until_ms < 0 or (until_ms and until_ms <= from_ms):
        raise Invalid(f"tariffs[{number}].until", "after `from`, both after 1970")
    return Assignment(tariff, from_ms, until_ms)


async def put(backoffice: BackOffice, wanted: Subscriber, password: str | None, expect: Expect) -> Saved:
    """Create or change a subscriber. A password of None leaves it as it is, "" removes it."""
    services = (await backoffice.context()).settings.services.by_name if wanted.payers else {}
    if unknown := [service for service in wanted.payers if service not in services]:
        raise Invalid("payers", f"expected services out of {', '.join(services)}, found {unknown[0]!r}")
    if (refused := backoffice.refused(wanted.attributes)) is not None:
        raise Invalid(f"attributes.{refused[0]}", refused[1])
    if why := undeclared(wanted.tags, backoffice.tags):
        raise Invalid("tags", why)
    stored = password
    if password:  # a hash takes its time
        stored = await asyncio.to_thread(backoffice.passwords.stored, password, wanted.id)
    saved = await subscribers.put(backoffice.pool, wanted, stored, backoffice.now_ms(), expect)
    if saved.changed:
        await backoffice.publish()
    return saved


async def get(backoffice: BackOffice, subscriber: str) -> Subscriber:
    found = await subscribers.get(backoffice.pool, subscriber)
    if found is None:
        raise NotFound(f"there is no subscriber {subscriber}")
    return found


async def by_identity(backoffice: BackOffice, text: str) -> Subscriber | None:
    """Find a subscriber by an identity in any spelling."""
    return await subscribers.by_identity(backoffice.pool, identity_of(text))


async def having(backoffice: BackOffice, identities: Sequence[str]) -> Sequence[Subscriber]:
    """Those that have one of these identities, as they are spelled here."""
    return await subscribers.named(backoffice.pool, "", identities, len(identities))


async def page(backoffice: BackOffice, account: str | None, after: str, limit: int) -> Sequence[Subscriber]:
    """A page of subscribers in the order of ids, after the given one; of an account, or of all."""
    return await subscribers.page(backoffice.pool, account, after, limit)


async def delete(backoffice: BackOffice, subscriber: str, expect: Expect) -> None:
    """Forgets it; its account, with all that was charged, stays."""
    await subscribers.delete(backoffice.pool, subscriber, backoffice.now_ms(), expect)
    await backoffice.publish()
