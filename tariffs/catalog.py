"""Tariffs with their versions, as one immutable snapshot; and finding the row for a line."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final

import msgspec

from tariffs.draft import Draft, Verdict
from tariffs.inputs import Inputs
from tariffs.ladder import Ladder, check_ladder
from tariffs.units import Kind

REMEMBERED_MAX: Final = 4096
"""Lines a tariff remembers the price of; rating groups come from outside, so there must be a limit."""

_pack: Final = msgspec.msgpack.Encoder().encode


class Rated(msgspec.Struct, frozen=True):
    """What rating says of one line. Made once for all lines alike."""

    verdict: Verdict
    unit: Kind | None = None
    """What the line counts in; None: whatever its service counts in."""
    ladder: Ladder | None = None
    packed: bytes = b""
    """The ladder, ready for the store; b"" where there is none."""
    free: bool = False
    emergency: bool = False
    why: str = ""
    """Row that priced it, or the reason in words that none did."""


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions of a row: those given must all hold, each by any of its values. A text ending in `*` holds for all
    that begins so. `rating_group` and `service_id` may be "none": the line names none."""

    service: str | tuple[str, ...] = ()
    rating_group: int | str | tuple[int | str, ...] = ()
    service_id: int | str | tuple[int | str, ...] = ()
    service_context: str | tuple[str, ...] = ()
    apn: str | tuple[str, ...] = ()
    rat_type: int | tuple[int, ...] = ()
    visited: str | tuple[str, ...] = ()
    location: str | tuple[str, ...] = ()
    calling: str | tuple[str, ...] = ()
    called: str | tuple[str, ...] = ()
    role: int | tuple[int, ...] = ()
    event_type: str | tuple[str, ...] = ()
    media: str | tuple[str, ...] = ()
    node: str | tuple[str, ...] = ()
    port_type: int | tuple[int, ...] = ()


LINE_FIELDS: Final = ("rating_group", "service_id")


class Condition:
    """One condition, ready to be asked."""

    __slots__ = ("exact", "field", "prefixes")

    def __init__(self, field: str, wanted: Any) -> None:
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        self.field = field
        self.exact: set[Any] = set()
        prefixes = []
        for value in values:
            if field in LINE_FIELDS and isinstance(value, str):
                if value != "none":
                    raise ValueError(f'{field}: expected a number or "none", not {value!r}')
                self.exact.add(None)
            elif isinstance(value, str) and value.endswith("*"):
                prefixes.append(value[:-1])
            else:
                self.exact.add(value)
        self.prefixes = tuple(prefixes)

    def holds(self, value: Any) -> bool:
        return value in self.exact or (bool(self.prefixes) and value.startswith(self.prefixes))


class Row:
    """One row of a tariff: conditions, and the elements that make its price."""

    def __init__(self, name: str, match: Match, elements: Iterable[Any]) -> None:
        self.name = name
        given = {field: getattr(match, field) for field in match.__struct_fields__ if getattr(match, field) != ()}
        self.conditions = tuple(Condition(field, wanted) for field, wanted in given.items())
        self.elements = tuple(elements)

    def holds(self, facts: dict[str, Any]) -> bool:
        return all(condition.holds(facts[condition.field]) for condition in self.conditions)

    def rate(self, service: str, tag: str) -> Rated:
        draft = Draft(service)
        for element in self.elements:
            element.apply(draft)
        if draft.verdict is not Verdict.PRICED:
            return Rated(draft.verdict, why=tag)
        ladder = draft.ladder(tag)
        check_ladder(ladder)
        return Rated(draft.verdict, draft.unit, ladder, _pack(ladder), draft.free, draft.emergency, tag)


class Tariff:
    """One version of a tariff, compiled."""

    def __init__(self, name: str, version: int, currency: str, from_ms: int, rows: Iterable[Row]) -> None:
        self.name, self.version, self.currency, self.from_ms = name, version, currency, from_ms
        self.rows = tuple(rows)
        looked_at = {condition.field for row in self.rows for condition in row.conditions}
        fields = sorted(looked_at - {"service", *LINE_FIELDS})
        # attrgetter gives a value for one name and a tuple for several; both serve as part of a key.
        self._look: Any = attrgetter(*fields) if fields else None
        self._remembered: dict[Any, Rated | None] = {}

    def find(self, rating_group: int | None, service_id: int | None, inputs: Inputs) -> Rated | None:
        """The first row that matches, in the order of the table; None where no row does."""
        look = self._look
        key = (inputs.service, rating_group, service_id, look(inputs) if look else None)
        try:
            return self._remembered[key]
        except KeyError:
            return self._find(key, rating_group, service_id, inputs)

    def _find(self, key: Any, rating_group: int | None, service_id: int | None, inputs: Inputs) -> Rated | None:
        facts = msgspec.structs.asdict(inputs) | {"rating_group": rating_group, "service_id": service_id}
        row = next((row for row in self.rows if row.holds(facts)), None)
        rated = row.rate(inputs.service, f"{self.name}@{self.version}:{row.name}") if row else None
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[key] = rated
        return rated


class Assignment(msgspec.Struct, array_like=True, frozen=True):
    """A tariff of a subscriber, from an instant on and until before another."""

    tariff: str
    from_ms: int = 0
    until_ms: int = 0
    """0: for good."""


class Catalog:
    """All published tariffs. Never changed: a new one replaces it."""

    def __init__(self, tariffs: Iterable[Tariff] = (), version: int = 0) -> None:
        self.version = version
        versions: dict[str, list[Tariff]] = {}
        for tariff in tariffs:
            versions.setdefault(tariff.name, []).append(tariff)
        # Newest first; of two valid from the same instant the later version counts.
        self.tariffs: dict[str, tuple[Tariff, ...]] = {
            name: tuple(sorted(each, key=lambda tariff: (tariff.from_ms, tariff.version), reverse=True))
            for name, each in versions.items()
        }

    def in_force(self, name: str, at_ms: int) -> Tariff | None:
        for tariff in self.tariffs.get(name, ()):
            if tariff.from_ms <= at_ms:
                return tariff
        return None
