"""TMF654 v4 in our words: its paths, kinds of use, units, ids of buckets and names of subscribers (docs/tmf654.md)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from balances.ledger.in_words import quantity
from ocs.backoffice.errors import Invalid
from ocs.charging.identity import KINDS, spellings
from tariffs.units import EXACT_MAX, MICRO, Kind

BASE: Final = "/tmf-api/prepayBalanceManagement/v4"

UsageType = Literal["monetary", "voice", "data", "sms", "other"]
ActionStatus = Literal["created", "failed", "cancelled", "completed"]
BucketStatus = Literal["active", "suspended", "expired"]

KIND_OF_USAGE: Final[dict[UsageType, Kind]] = {
    "monetary": Kind.MONEY,
    "voice": Kind.SECONDS,
    "data": Kind.OCTETS,
    "sms": Kind.UNITS,
    "other": Kind.UNITS,
}
SMS: Final = "sms"
"""The service whose buckets of units are of the usage type `sms`."""

UNITS: Final[dict[Kind, dict[str, int]]] = {
    Kind.OCTETS: {
        "octets": 1,
        "B": 1,
        "kB": 10**3,
        "KB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "TB": 10**12,
        "KiB": 2**10,
        "MiB": 2**20,
        "GiB": 2**30,
        "TiB": 2**40,
    },
    Kind.SECONDS: {"seconds": 1, "s": 1, "sec": 1, "minutes": 60, "min": 60, "hours": 3_600, "h": 3_600},
    Kind.UNITS: {"units": 1, "messages": 1, "sms": 1},
}
"""Names of units that are taken, and how many of ours each is; the first of each kind is the one that is given."""

DIGITS_MAX: Final = 64
"""Of a number: none that means something has more."""
NEW: Final = "new"


def usage_of(kind: int, scope: Sequence[str] = ()) -> UsageType:
    """The usage type of a bucket."""
    if kind == Kind.UNITS:
        return "sms" if list(scope) == [SMS] else "other"
    return {Kind.MONEY: "monetary", Kind.SECONDS: "voice", Kind.OCTETS: "data"}[Kind(kind)]  # type: ignore[return-value]


def units_of(kind: int, currency: str) -> str:
    """What amounts of this kind are given in."""
    return currency if kind == Kind.MONEY else next(iter(UNITS[Kind(kind)]))


def number_of(kind: int, amount: int) -> Decimal:
    """Micro-units of money, or whole units, as a JSON number."""
    return Decimal(quantity(kind, amount))


def amount_in(amount: Decimal, units: str, kind: int, currency: str) -> int:
    """Exactly, in micro-units of money or whole units of another kind. Raises Invalid for what is none."""
    if kind == Kind.MONEY:
        if units != currency:
            raise Invalid("amount.units", f"expected {currency}, the currency of the account, found {units[:40]!r}")
        each = MICRO
    else:
        known = UNITS[Kind(kind)]
        if units not in known:
            raise Invalid("amount.units", f"expected one of {', '.join(known)}, found {units[:40]!r}")
        each = known[units]
    _, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int) or len(digits) + abs(exponent) > DIGITS_MAX:
        raise Invalid("amount.amount", f"expected a number of at most {DIGITS_MAX} digits")
    exact = Fraction(amount) * each
    if exact.denominator != 1:
        finest = "six decimals" if kind == Kind.MONEY else f"whole {units_of(kind, currency)}"
        raise Invalid("amount.amount", f"expected nothing finer than {finest}, found {amount}")
    if abs(exact.numerator) > EXACT_MAX:
        raise Invalid("amount.amount", f"expected at most {quantity(kind, EXACT_MAX)} either way, found {amount}")
    return exact.numerator


class NamedBucket(NamedTuple):
    """What the id of a bucket says: `demo-1:0`, or `demo-1:new` for one that is to be made."""

    account: str
    number: int | None
    """None: it is to be made."""

    @property
    def id(self) -> str:
        return f"{self.account}:{NEW if self.number is None else self.number}"


def bucket_named(text: str, field: str = "bucket.id") -> NamedBucket:
    """Raises Invalid for what no bucket is called."""
    account, colon, number = text.rpartition(":")
    fits = number == NEW or (number.isascii() and number.isdecimal() and len(number) < 17)
    if not colon or not account or not fits:
        raise Invalid(field, f"expected an account and a bucket of it, such as demo-1:0, found {text[:80]!r}")
    return NamedBucket(account, None if number == NEW else int(number))


def identities_of(id_: str, referred_type: str | None) -> list[str]:
    """What a logicalResource may mean: a number in any spelling, or an identity with its kind before it."""
    kind = (referred_type or "").lower()
    return spellings(f"{kind}:{id_}" if kind in KINDS and not id_.lower().startswith(f"{kind}:") else id_)
