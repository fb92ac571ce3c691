"""The oracle's reading of a document: quantities, conditions, numbers, tables, and what a written price becomes.

Part of the oracle (tests/tariffs/oracle.py): written from tariffs/README.md, never from the code it judges.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.tariffs.oracle_clock import band_holds, several

Row = dict[str, Any]
Entry = dict[str, str]
SIZES = {"KB": 2**10, "MB": 2**20, "GB": 2**30, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "octets": 1, "octet": 1}
TIMES = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
LARGEST = 2**26
"""Prices are fractions of numbers up to this (tariffs/units.py)."""


@dataclass
class OracleFacts:
    """What is known of a line and its request."""

    service: str
    rating_group: int | None = None
    service_id: int | None = None
    time_zone: str = "UTC"
    subscriber: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    """called, calling, apn, visited, ... as `Inputs` names them."""
    zone: str = "UTC"
    """In which the clock is read."""

    def get(self, name: str) -> Any:
        """A fact by its name in `when` or `by`; None where it is unknown."""
        if name in ("service", "rating_group", "service_id", "subscriber"):
            return getattr(self, name)
        return self.others.get(name)


def quantity(written: Any) -> tuple[str, int]:
    """ "1 MB" is ("octets", 1048576), 1 is ("units", 1)."""
    if isinstance(written, int):
        return "units", written
    number, _, unit = written.partition(" ")
    if unit in SIZES:
        return "octets", int(number) * SIZES[unit]
    if unit in TIMES:
        return "seconds", int(number) * TIMES[unit]
    return "units", int(number)


def increment(written: Any, kind: str) -> tuple[int, int]:
    """ "60/1" is (60, 1), in the unit of the price."""
    parts = str(written).split("/")
    sizes = []
    for part in parts:
        found, amount = quantity(part if " " in part else int(part))
        assert " " not in part or found == kind, written
        sizes.append(amount)
    return sizes[0], sizes[-1]


def text_holds(value: Any, wanted: Any) -> bool:
    """By any of its values; a text ending in * for all that begins so."""
    for one in several(wanted):
        if one in ("none", "") and value is None:
            return True
        if isinstance(one, str) and one.endswith("*"):
            if isinstance(value, str) and value.startswith(one[:-1]):
                return True
        elif value == one:
            return True
    return False


CAPITALS = {"262": "Europe/Berlin", "440": "Asia/Tokyo", "310": "America/New_York", "505": "Australia/Sydney"}
"""Countries by the digits of their networks, as far as the tests travel; 901 is none."""
ZERO_OFFSET = "UTC"


def clock_of(written: str, facts: OracleFacts) -> str:
    """ "account", "visited" or the name of a zone."""
    if written == "visited":
        visited = facts.get("visited") or ""
        return CAPITALS.get(visited[:3], facts.time_zone or ZERO_OFFSET)
    return facts.time_zone if written == "account" else written


class OracleTariff:
    """One tariff, as written."""

    def __init__(self, text: str, files: Mapping[str, bytes] | None = None, version: int = 1) -> None:
        self.written: dict[str, Any] = tomllib.loads(text, parse_float=Fraction)
        self.files, self.version = files or {}, version
        self.name: str = self.written["tariff"]
        self.currency: str = self.written["currency"]
        self.promotion: bool = self.written.get("promotion", False)
        valid = self.written.get("valid_from")
        self.from_ms = None if valid is None else int(valid.timestamp() * 1_000)
        self.rows: list[Row] = self.written.get("rows", [])
        self.counters: dict[str, dict[str, Any]] = self.written.get("counters", {})
        self.tables = {name: self._table(content) for name, content in self.written.get("tables", {}).items()}

    def _table(self, content: Any) -> list[Entry]:
        if isinstance(content, dict):
            return [{"prefix": prefix, "zone": zone} for prefix, zone in content.items()]
        rows = csv.DictReader(io.StringIO(self.files[content].decode()))
        return [{key: value for key, value in row.items() if value} for row in rows]

    def read_clock(self, facts: OracleFacts) -> None:
        """From now on the clock is read in the zone of this tariff. Choice: by its promotions too."""
        facts.zone = clock_of(self.written.get("zone", "account"), facts)

    # ------------------------------------------------------------ numbers and tables

    def number(self, dialled: str) -> tuple[str, bool]:
        """The number with its country, and whether it is a short code."""
        rules = self.written.get("numbers")
        if rules is None:
            return dialled, False
        if dialled.startswith("+"):
            return dialled[1:], False
        for prefix in several(rules.get("international", ["00"])):
            if prefix and dialled.startswith(prefix):
                return dialled[len(prefix) :], False
        if len(dialled) <= rules.get("short", 6):
            return dialled, True
        national = rules.get("national", "0")
        if national and dialled.startswith(national):
            kept = dialled if rules.get("keep_national") else dialled[len(national) :]
            return rules["country"] + kept, False
        return dialled, False

    def entry(self, table: str, dialled: str | None) -> Entry | None:
        """The entry with the longest prefix of the number; "=112" is for this whole number only."""
        if dialled is None:
            return None
        number, short = self.number(dialled)
        found: Entry | None = None
        for one in self.tables[table]:
            prefix = one["prefix"].removeprefix("+")
            if prefix == "=" + number:
                return one
            fits = not short and not prefix.startswith("=") and number.startswith(prefix)
            if fits and (found is None or len(prefix) > len(found["prefix"].removeprefix("+"))):
                found = one
        return found

    def _is_in_zone(self, wanted: Any, dialled: str | None) -> bool:
        for one in several(wanted):
            table, _, zone = one.partition(":")
            found = self.entry(table, dialled)
            if found is not None and (not zone or text_holds(found["zone"], zone)):
                return True
        return False

    def given(self, written: Any, row: Row, facts: OracleFacts) -> Any:
        """What is written, or what stands in the column or attribute it names; None where nothing does."""
        place, _, name = written.partition(".") if isinstance(written, str) else ("", "", "")
        if place == "subscriber":
            return facts.attributes.get(name)
        if place in ("to", "from"):
            number = facts.get("called" if place == "to" else "calling")
            named = several(row.get("when", {}).get(place, [])) or list(self.tables)
            for table in named:
                found = self.entry(table.partition(":")[0], number)
                if found is not None and name in found:
                    return found[name]
            return None
        return written

    # ------------------------------------------------------------ conditions

    def in_band(self, names: Any, facts: OracleFacts, at_ms: int) -> bool:
        """Does any of these bands hold?"""
        bands, calendars = self.written.get("bands", {}), self.written.get("calendars", {})
        return any(band_holds(bands[name], calendars, at_ms, facts.zone) for name in several(names))

    def holds(self, when: dict[str, Any], facts: OracleFacts, at_ms: int) -> bool:
        """All conditions must."""
        for name, wanted in when.items():
            if name == "subscriber":
                good = all(self._attribute_holds(facts.attributes.get(key, ""), value) for key, value in wanted.items())
            elif isinstance(wanted, dict):  # "`{ not = ... }` holds exactly where its values do not"
                good = not self.holds({name: wanted["not"]}, facts, at_ms)
            elif name == "time":
                good = self.in_band(wanted, facts, at_ms)
            elif name in ("to", "from"):
                good = self._is_in_zone(wanted, facts.get("called" if name == "to" else "calling"))
            elif name in ("called", "calling"):
                value = facts.get(name)
                good = value is not None and text_holds(self.number(value)[0], wanted)
            else:
                good = text_holds(facts.get(name), wanted)
            if not good:
                return False
        return True

    def _attribute_holds(self, value: str, wanted: Any) -> bool:
        """ "*" is any value given."""
        if isinstance(wanted, dict):
            return not self._attribute_holds(value, wanted["not"])
        return any(text_holds(value, one) and bool(value or one != "*") for one in several(wanted))

    def matching(self, facts: OracleFacts, at_ms: int) -> list[Row]:
        """The rows that match, from the top; the first one without a limit is the last."""
        found: list[Row] = []
        for row in self.rows:
            if self.holds(row.get("when", {}), facts, at_ms):
                found.append(row)
                if "first" not in row and "below" not in row and "bundle" not in row:
                    break
        return found

    # ------------------------------------------------------------ prices

    def changed(
        self, price: Fraction, facts: OracleFacts, at_ms: int, promotions: list[OracleTariff], *, fees: bool
    ) -> Fraction:
        """Surcharges as they stand, then discounts, those of promotions after the tariff's own; never below 0."""
        listed = price
        for key, sign in (("surcharges", 1), ("discounts", -1)):
            stopped = False
            for document in [self, *promotions]:
                for one in document.written.get(key, []):
                    if stopped or one.get("fees", False) is not fees:
                        continue
                    if not document.holds(one.get("when", {}), facts, at_ms):
                        continue
                    if "amount" in one and document.currency != self.currency:
                        continue
                    if "percent" in one:
                        percent = document.given(one["percent"], {}, facts)
                        part = listed if one.get("of", "rest") == "list" else price
                        price += sign * part * Fraction(percent or 0) / 100
                    else:
                        price += sign * Fraction(document.given(one["amount"], {}, facts) or 0)
                    price = max(price, Fraction(0))
                    stopped = one.get("stack", True) is False
        return price

    def taxed(self, price: Fraction, facts: OracleFacts, at_ms: int) -> Fraction:
        """With the tax: one that is included is in it already."""
        for tax in self.written.get("taxes", []):
            if self.holds(tax.get("when", {}), facts, at_ms):
                return price if tax.get("included", False) else price * (1 + Fraction(tax["percent"]) / 100)
        return price


def as_fine_as_fits(price: Fraction) -> Fraction:
    """Finer than can be held exactly is rounded half up to 10^-6 of a micro-unit, or as fine as fits."""
    held, places = price, 6
    while held.denominator > 1 and max(held.denominator, held.numerator) > LARGEST:
        held = Fraction(whole(price * 10**places, "half_up"), 10**places)
        places -= 1
    return held


def whole(amount: Fraction, rounding: str) -> int:
    """Rounded to a micro-unit."""
    if rounding == "down":
        return amount.numerator // amount.denominator
    if rounding == "up":
        return -(-amount.numerator // amount.denominator)
    assert rounding == "half_up"
    return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)
