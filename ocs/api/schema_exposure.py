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


class ExposureView(Struct, frozen=True):
    total: dict[str, Money]
    """By currency: held, owed and set aside; what is held on credit and owed too is counted once."""
    held: list[HeldView]
    complete: bool
    """False: there are more open sessions than were read; `held` and `total` are of some."""
    held_on_credit: dict[str, Money]
    """Part of both held and owed."""
    owed: list[OwedView] | None
    """null while PostgreSQL does not answer; likewise the next two."""
    set_aside: list[AsideView] | None
    waiting: WaitingView | None
