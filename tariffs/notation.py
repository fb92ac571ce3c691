"""How money and quantities are written in tariff documents: "0.0004", "1 MB", "60/1", "19" percent, "to.peak"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from tariffs.phrases import quantity
from tariffs.units import EXACT_MAX, MICRO, Kind

LARGEST: Final = f"{EXACT_MAX // MICRO}.{EXACT_MAX % MICRO} (2^53 micro-units)"
"""Of all amounts of money."""

DIGITS_MAX: Final = 30
"""Digits an amount may be written with: more is a slip of the pen, and exact arithmetic on it is not free."""

NAMES: Final[dict[str, tuple[Kind, int]]] = {
    "octet": (Kind.OCTETS, 1),
    "octets": (Kind.OCTETS, 1),
    "B": (Kind.OCTETS, 1),
    # A megabyte of a data tariff is 1,048,576 octets, by whichever name; a decimal one is "1000000 octets".
    "KB": (Kind.OCTETS, 2**10),
    "KiB": (Kind.OCTETS, 2**10),
    "MB": (Kind.OCTETS, 2**20),
    "MiB": (Kind.OCTETS, 2**20),
    "GB": (Kind.OCTETS, 2**30),
    "GiB": (Kind.OCTETS, 2**30),
    "s": (Kind.SECONDS, 1),
    "min": (Kind.SECONDS, 60),
    "h": (Kind.SECONDS, 3_600),
    "d": (Kind.SECONDS, 86_400),
    "unit": (Kind.UNITS, 1),
    "units": (Kind.UNITS, 1),
    "message": (Kind.UNITS, 1),
    "messages": (Kind.UNITS, 1),
    "event": (Kind.UNITS, 1),
    "events": (Kind.UNITS, 1),
}
"""Every unit a document may name."""

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Decimal takes more for a number: "1_000", and the digits of every script."""
_QUANTITY: Final = re.compile(r"(\d{1,16})?\s*([A-Za-z]+)?", re.ASCII)
_COLUMN: Final = re.compile(r"(to|from|subscriber)\.([A-Za-z_][A-Za-z0-9_-]*)", re.ASCII)


class Amount(Fraction):
    """Money in units of the currency, exact, not negative."""

    @classmethod
    def read(cls, written: object) -> Self:
        """From a decimal string, or from a TOML or JSON number that was never a binary float."""
        if isinstance(written, bool) or not isinstance(written, (str, int, Decimal)):
            raise ValueError(f'expected an amount of money such as "0.05", not {written!r}')
        is_number = not isinstance(written, str) or _NUMBER.fullmatch(written.strip())
        number = Decimal(written if is_number else "NaN")
        parts = number.as_tuple()
        if not isinstance(parts.exponent, int):
            raise ValueError(f'expected an amount of money such as "0.05", not {written!r}')
        if len(parts.digits) > DIGITS_MAX or not -DIGITS_MAX <= parts.exponent <= DIGITS_MAX:
            raise ValueError(f"expected an amount of at most {DIGITS_MAX} digits, not {written!r}")
        if number < 0:
            raise ValueError(f"expected an amount that is not negative, not {written!r}")
        return cls(number)

    @property
    def micro(self) -> int:
        """As a whole number of micro-units; ValueError where it is none."""
        micro = self * MICRO
        if micro.denominator != 1:
            raise ValueError(f"expected whole micro-units (six decimals), not {self} units")
        if micro > EXACT_MAX:
            raise ValueError(f"expected at most {LARGEST}, not {self}")
        return int(micro)


class Quantity:
    """A number of octets, seconds or units, at least one."""

    __slots__ = ("amount", "kind")

    def __init__(self, kind: Kind, amount: int) -> None:
        self.kind, self.amount = kind, amount

    @classmethod
    def read(cls, written: object) -> Self:
        """From "1 MB", "60 s", "MB"; a bare number counts units (messages, events)."""
        if isinstance(written, bool) or not isinstance(written, (str, int)):
            raise ValueError(f'expected a quantity such as "1 MB", "60 s" or 1, not {written!r}')
        found = _QUANTITY.fullmatch(str(written).strip())
        if found is None or not any(found.groups()):
            raise ValueError(f'expected a quantity such as "1 MB", "60 s" or 1, not {written!r}')
        count, name = found.groups()
        if name is not None and name not in NAMES:
            raise ValueError(f"expected a unit out of {', '.join(NAMES)}, not {name!r}")
        kind, size = NAMES[name or "unit"]
        amount = int(count or 1) * size
        if not 1 <= amount <= EXACT_MAX:
            raise ValueError(f"expected a quantity from 1 to 2^53, not {written!r}")
        return cls(kind, amount)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and (self.kind, self.amount) == (other.kind, other.amount)

    def __hash__(self) -> int:
        return hash((self.kind, self.amount))

    def __repr__(self) -> str:
        return quantity(self.kind, self.amount)


class Increment:
    """What use is rounded up to: the first block, and each further one. Bare numbers are seconds, octets or units,
    whichever the price is for."""

    __slots__ = ("first", "further")

    def __init__(self, first: Quantity, further: Quantity) -> None:
        self.first, self.further = first, further

    @classmethod
    def read(cls, written: object) -> Self:
        """From "60/1" (first/next), "1 MB/100 KB", or one quantity for both."""
        if isinstance(written, str) and "/" in written:
            first, _, further = written.partition("/")
            return cls(Quantity.read(first), Quantity.read(further))
        both = Quantity.read(written)
        return cls(both, both)

    def in_unit(self, kind: Kind) -> tuple[int, int]:
        for one in (self.first, self.further):
            if one.kind not in (kind, Kind.UNITS):
                raise ValueError(f"expected an increment in {kind.name.lower()}, as the price, not {one!r}")
        return self.first.amount, self.further.amount


class Percent(Fraction):
    """So many hundredths, exact, not negative; at most four decimals, so that a tax is whole parts per million."""

    @classmethod
    def read(cls, written: object) -> Self:
        """From "12.5", 12 or a Decimal."""
        try:
            number = Amount.read(written)
        except ValueError:
            number = None
        if number is None or number * 10_000 % 1 or number > 1_000:
            raise ValueError(f"expected a percentage from 0 to 1000 with at most four decimals, not {written!r}")
        return cls(number)


class Column:
    """A value that stands elsewhere: "to.peak" in the column `peak` of the called number's entry in its table,
    "subscriber.cap" in an attribute of the subscriber."""

    __slots__ = ("name", "place")

    def __init__(self, place: str, name: str) -> None:
        self.place, self.name = place, name

    @classmethod
    def read(cls, written: object) -> Self | None:
        """None: it is not written as one."""
        found = _COLUMN.fullmatch(written) if isinstance(written, str) else None
        return cls(*found.groups()) if found else None

    def __repr__(self) -> str:
        return f"{self.place}.{self.name}"


@contextmanager
def laid_at(written: object) -> Iterator[None]:
    """A ValueError about what is written names the column it stands in."""
    try:
        yield
    except ValueError as bad:
        if not isinstance(written, Column):
            raise
        raise ValueError(f"{written!r}: {bad}") from None


T = TypeVar("T")


class Given(Generic[T]):
    """A value as written, or the column it stands in."""

    __slots__ = ("written",)
    kind: ClassVar[Any]

    def __init__(self, written: T | Column) -> None:
        self.written = written

    @classmethod
    def read(cls, written: object) -> Self:
        return cls(Column.read(written) or cls.kind.read(written))

    def value(self, column: Callable[[Column], str]) -> T:
        """column: what stands in one; ValueError where that is not a value."""
        if not isinstance(self.written, Column):
            return self.written
        with laid_at(self.written):
            found: T = self.kind.read(column(self.written))
        return found


class WrittenPrice(Given[Amount]):
    kind = Amount


class Blocks(Given[Increment]):
    kind = Increment


class Share(Given[Percent]):
    kind = Percent
