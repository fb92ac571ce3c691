"""The profile of a subscriber: what the projection of master data stores in Redis for every identity."""

from __future__ import annotations

import msgspec

from tariffs.catalog import Assignment
from tariffs.limits import SpendingLimit


class ServicePayer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The account that pays for one service of a subscriber, in the place of the one that pays for the rest."""

    service: str
    account: str
    currency: str
    time_zone: str
    limits: tuple[SpendingLimit, ...] = ()
    """Of the subscriber, and those of this account that all its subscribers share."""


class FormerPayer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An account that paid for something of a subscriber, or under one of its identities, and ceased to."""

    account: str
    currency: str
    time_zone: str
    change: int
    """Of the master data, by which it ceased to."""
    until_ms: int
    """When that was."""


class Profile(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Value of `profile:<identity>` in Redis, packed as a msgpack array; the same for each identity of a subscriber.

    The projection (`ocs.master.projection`) writes it for every identity, in the spelling of
    `ocs.charging.identity.canonical`, and for `subscriber:<id>`: requests without a Subscription-Id are found by their
    session, which knows the subscriber. A field is only ever added at the end, with a default.
    """

    subscriber: str
    account: str
    """Who pays."""
    rev: int
    """Change number of the master data this is from; an account that knows of a newer one calls it stale."""
    currency: str
    """Of the account, ISO 4217 letters."""
    time_zone: str
    assignments: tuple[Assignment, ...]
    """In order: the first in force whose tariff has a row for a line prices it."""
    barred: bool = False
    """The subscriber, not the account, is refused (4010)."""
    moved_ms: int = 0
    """When the paying account changed last, 0 for never: open sessions stay with the account they began with."""
    attributes: dict[str, str] = {}
    """What tariffs may ask of the subscriber: segment, contract, entitlements."""
    limits: tuple[SpendingLimit, ...] = ()
    """Of the subscriber, and those of the account that all its subscribers share."""
    password: str = ""
    """As it is kept (ocs/master/passwords.py): sealed or hashed, never in clear."""
    payers: tuple[ServicePayer, ...] = ()
    """Of services that another account than `account` pays for."""
    former: tuple[FormerPayer, ...] = ()
    """The last ones, for 30 days and longer: repeats are answered by who was charged first (charging.md section 19)."""
    tags: str = ""
    """Charging tags of all that it is charged, as JSON."""

    def paid_for(self, service: str) -> Profile:
        """The profile as it is for this service: with the account that pays for it."""
        for one in self.payers:
            if one.service == service:
                return msgspec.structs.replace(
                    self, account=one.account, currency=one.currency, time_zone=one.time_zone, limits=one.limits
                )
        return self

    def settled_by(self, account: str) -> Profile:
        """The profile for a session that this account pays for since it was opened. Where another one pays now, what
        was used is settled and nothing more is granted (charging.md section 19)."""
        if account == self.account:
            return self
        settled: Profile = msgspec.structs.replace(self, account=account, barred=True)
        former = next((one for one in self.former if one.account == account), None)
        if former is None:
            return settled
        return msgspec.structs.replace(settled, currency=former.currency, time_zone=former.time_zone)
