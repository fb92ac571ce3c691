"""Roles: sets of permissions, with the most that may be moved at once and in a day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct

from ocs.access.permissions import MOVE_AMOUNTS, covers, matching, unknown_patterns
from ocs.patterns import looks

LimitAmount = Annotated[str, looks(r"\d{1,12}(\.\d{1,6})?", 'an amount such as "20.00"')]
LimitUnit = Annotated[
    str, looks("([A-Z]{3}|octets|seconds|units)?", "a currency such as EUR, or octets, seconds, units", max_length=7)
]
CALLER: Final = re.compile(r"[!-:<-~]{1,64}")
"""Without `;`, which ends the caller in the names of a platform's sessions and events."""
UNITS: Final = ("octets", "seconds", "units")


class AmountLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """The most that a role may move by one permission."""

    permission: str
    """Name or pattern."""
    unit: LimitUnit = ""
    """Currency, or unit of a bucket; left out: each currency that no other limit names."""
    each: LimitAmount | None = None
    """At once; None: any amount."""
    day: LimitAmount | None = None
    """By one caller in a day (UTC), whether given or taken."""

    def __post_init__(self) -> None:
        if not matching((self.permission,)) & MOVE_AMOUNTS:
            raise ValueError(
                f"limits[].permission of one that moves amounts ({', '.join(sorted(MOVE_AMOUNTS))}), not"
                f" {self.permission!r}"
            )
        if self.each is None and self.day is None:
            raise ValueError("each, day or both in limits[]")
        if self.unit in UNITS and "." in f"{self.each}{self.day}":
            raise ValueError(f"whole numbers of {self.unit} in limits[]")


class CallerRole(Struct, frozen=True, forbid_unknown_fields=True):
    permissions: tuple[str, ...]
    """Names, or patterns such as `accounts.*` and `*.read`."""
    rate: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Requests a second of each caller with this role; 0: as `http.rate_max` says."""
    limits: tuple[AmountLimit, ...] = ()
    """Where some name a permission, only units that one of them covers may be moved by it."""

    def __post_init__(self) -> None:
        if unknown := unknown_patterns(self.permissions):
            raise ValueError(
                f"permissions that exist (`ocs token permissions` lists them), not {', '.join(map(repr, unknown))}"
            )

    def limit(self, permission: str, unit: str) -> AmountLimit | None:
        """The limit that holds; None: there is none. The unit by its name goes before a limit without one."""
        own = [one for one in self.limits if covers(one.permission, permission)]
        if not own:
            return None
        found = [one for one in own if one.unit == unit]
        if not found and unit not in UNITS:
            found = [one for one in own if not one.unit]
        return found[0] if found else NOTHING


NOTHING: Final = AmountLimit("*", each="0")

SHIPPED: Final[Mapping[str, CallerRole]] = {
    "admin": CallerRole(("*",)),
    "cashier": CallerRole(
        ("accounts.read", "subscribers.read", "accounts.top-up", "accounts.adjust", "offers.read", "vouchers.redeem"),
        limits=(
            AmountLimit("accounts.top-up", each="500.00"),
            AmountLimit("accounts.adjust", each="20.00", day="200.00"),
        ),
    ),
    "care": CallerRole(
        (
            *("accounts.read", "accounts.write", "accounts.top-up", "accounts.adjust", "accounts.refund"),
            *("subscribers.*", "limits.*", "thresholds.*", "tariffs.read", "sessions.*", "events.read", "jobs.read"),
            *("suspense.read", "offers.read", "vouchers.read", "vouchers.redeem"),
        ),
        limits=(
            AmountLimit("accounts.top-up", each="100.00"),
            AmountLimit("accounts.adjust", each="50.00", day="500.00"),
            AmountLimit("accounts.refund", each="100.00", day="1000.00"),
        ),
    ),
    "billing": CallerRole(
        (
            *(
                "accounts.*",
                "subscribers.*",
                "limits.*",
                "thresholds.*",
                "tariffs.*",
                "suspense.*",
                "vouchers.*",
                "offers.*",
                "sessions.read",
            ),
            *("events.read", "webhooks.read", "ledger.read", "ledger.verify", "ledger.close"),
            *("approvals.*", "audit.read", "fees.*"),
        )
    ),
    "platform": CallerRole(("charging.charge", "charging.read")),
    "noc": CallerRole(
        (
            *("accounts.read", "subscribers.read", "tariffs.read", "suspense.read", "sessions.*", "jobs.*"),
            *("network.*", "hosts.*", "traces.watch", "events.read", "webhooks.*", "fees.*"),
            *("ledger.read", "ledger.verify", "ledger.close", "ledger.repair"),
        )
    ),
}
"""Those that are there without configuration; one of the same name in `access.roles` takes its place."""


class Authority(Struct, frozen=True):
    """Who asks, from where, and what that one may do."""

    caller: str
    address: str = ""
    roles: Mapping[str, CallerRole] = {}
    permissions: frozenset[str] = frozenset()
    """Of all its roles, narrowed by the scopes of its token."""
    credential: str = ""
    """What it was known by: id of a token, `admin.token`, `jwt`, `certificate`, the approval it is done by."""

    def rate(self, most: int) -> int:
        """Requests a second: the most that a role of its own gives, else this; 0: any number."""
        return max((role.rate for role in self.roles.values()), default=0) or most

    def may(self, permission: str) -> bool:
        return permission in self.permissions

    def limits(self, permission: str, unit: str) -> list[AmountLimit]:
        """One for each role that gives the permission, the caller may choose the widest; empty: no limit."""
        found = [
            role.limit(permission, unit)
            for role in self.roles.values()
            if any(covers(pattern, permission) for pattern in role.permissions)
        ]
        held = [one for one in found if one is not None]
        return held if len(held) == len(found) else []


def authority_of(
    caller: str,
    roles: Iterable[str],
    known: Mapping[str, CallerRole],
    *,
    scopes: Iterable[str] = (),
    address: str = "",
    credential: str = "",
) -> Authority:
    """What the roles of that name allow together. A role that is not known any more allows nothing.

    scopes: patterns; where there are some, only what they name too
    """
    held = {name: known[name] for name in roles if name in known}
    permissions = matching(pattern for role in held.values() for pattern in role.permissions)
    narrowed = tuple(scopes)
    if narrowed:
        permissions &= matching(narrowed)
    return Authority(caller, address, held, permissions, credential)


ADMIN: Final = authority_of("admin", ("admin",), SHIPPED)
