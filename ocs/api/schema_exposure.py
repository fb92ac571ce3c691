"""What the API gives of money at stake."""

from __future__ import annotations

from msgspec import Struct

from ocs.api.schema import Currency
from ocs.api.texts import Money


class HeldView(Struct, frozen=True):
    peer: str
    """Origin-Host, RADIUS client, or caller of HTTP charging, of the sessions."""
    currency: Currency
    sessions: int
    """Open ones, those that hold no money too."""
    money: Money
    """Held for what was granted and is not reported yet."""


class OwedView(Struct, frozen=True):
    currency: Currency
    accounts: int
    money: Money
    """Free money below zero, as of the last records that were copied."""


class AsideView(Struct, frozen=True):
    currency: str
    """XXX: not known."""
    uses: int
    """In suspense, of any unit."""
    money: Money
    """Of those that are amounts of money; others have no price before a person decides."""


class WaitingView(Struct, frozen=True):
    records: int
    """In the live store, and not in PostgreSQL yet."""
    debited: dict[str, Money]
    """By them, by currency."""
    complete: bool
    """False: there are more records than were read; `debited` is of some."""


class UnheldView(Struct, frozen=True):
    peer: str
    """Of the sessions; other: of many."""
    currency: Currency
    money: Money
    """Charged in the last 24 hours for use that nothing was held for when it was reported."""


class ExposureView(Struct, frozen=True):
    total: dict[str, Money]
    """By currency: held, owed and set aside; what is held on credit and owed too is counted once."""
    held: list[HeldView]
    complete: bool
    """False: there are more open sessions than were read, or some could not be; `held` and `total` are of some."""
    held_on_credit: dict[str, Money]
    """Part of both held and owed."""
    owed: list[OwedView] | None
    """null where it could not be read, and `unknown` says why; likewise the next three."""
    set_aside: list[AsideView] | None
    waiting: WaitingView | None
    unheld: list[UnheldView] | None
    """What sessions that failed open, or ended, reported afterwards. It was charged: it is not in the total."""
    unknown: list[str]
    """What could not be read within seconds, each with why; the rest is as it is now."""
