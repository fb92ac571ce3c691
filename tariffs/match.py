"""Conditions of a row: what a request must look like for the row to price it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from tariffs.destinations import DestinationRow, Numbers, PrefixTable
from tariffs.inputs import Inputs
from tariffs.network_facts import taken_apart
from tariffs.notation import Column
from tariffs.visited_zones import visited_zone

# An empty list is refused: taken for a condition that was not given, it would make the row price every line.
SOME: Final = Meta(min_length=1)
Texts = str | Annotated[tuple[str, ...], SOME]
Numbered = int | str | Annotated[tuple[int | str, ...], SOME]
V = TypeVar("V")


class Excluded(msgspec.Struct, Generic[V], frozen=True, forbid_unknown_fields=True, rename={"not_": "not"}):
    """`{ not = "262*" }`: holds exactly where `"262*"` does not, so also where nothing is known."""

    not_: V


Text = Texts | Excluded[Texts]
Number = Numbered | Excluded[Numbered]
Getter = Callable[[Inputs], Any]
Facts = Mapping[str, Any]
"""Everything a condition may ask of one line, by the name of the fact."""


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Conditions as written: those given must all hold, each by any of its values. A text ending in `*` holds for all
    that begins so. Numbers may be "none": the line names none."""

    service: Text = ()
    rating_group: Number = ()
    service_id: Number = ()
    service_context: Text = ()
    apn: Text = ()
    rat_type: Number = ()
    visited: Text = ()
    location: Text = ()
    calling: Text = ()
    """As `[numbers]` of the tariff makes it."""
    called: Text = ()
    from_: Text = ()
    """Table of destinations, or "table:zone", of the calling number..."""
    to: Text = ()
    """... and of the called one."""
    role: Number = ()
    event_type: Text = ()
    media: Text = ()
    charging_characteristics: Text = ()
    node: Text = ()
    port_type: Number = ()
    equipment: Text = ()
    user_time_zone: Text = ()
    network: dict[str, str | tuple[str, ...] | Excluded[Texts]] = {}
    """What the network tells under configured names, ..."""
    subscriber: dict[str, str | tuple[str, ...] | Excluded[Texts]] = {}
    """... and attributes of the subscriber; "*" holds for any value given, "" where none is."""
    time: Text = ()
    """Bands of the tariff: any of them holds, or none of those excluded."""


ATTRIBUTE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
PLACES: Final = ("subscriber", "network")
"""Where facts have names that are not ours: "subscriber.segment"."""
LINE_FIELDS: Final = ("rating_group", "service_id")
NUMBERS: Final = (*LINE_FIELDS, "rat_type", "role", "port_type")
"""Facts that are numbers."""
ENDS: Final = {"to": "called", "from": "calling"}
VISITED_CLOCK: Final = "visited_zone"
"""The zone of the country of the serving network, where a clock is that one's."""
MANY_VALUED: Final = frozenset({"called", "calling", "location", "equipment"})
"""Facts with more values than can be remembered: what is remembered is which conditions on them hold."""


class Condition:
    """One condition, ready to be asked. `fact` is the name of what it looks at: "apn", "subscriber.segment",
    "to world" (the entry of the called number in that table)."""

    __slots__ = ("exact", "excludes", "fact", "prefixes", "wanted")

    def __init__(self, fact: str, values: Iterable[Any], *, excludes: bool = False) -> None:
        """excludes: it holds for all but these values"""
        self.fact, self.excludes = fact, excludes
        self.wanted = tuple(values)
        self.exact: set[Any] = set()
        prefixes = []
        for value in self.wanted:
            if fact in NUMBERS and isinstance(value, str):
                if value != "none":
                    raise ValueError(f'{fact}: expected a number or "none", not {value!r}')
                self.exact.add(None)
            elif isinstance(value, str) and value.endswith("*"):
                prefixes.append(value[:-1])
            else:
                self.exact.add(value)
        self.prefixes = tuple(prefixes)

    def holds(self, facts: Facts) -> bool:
        value = facts[self.fact]
        if isinstance(value, DestinationRow):
            value = value.zone
        if not value:  # no entry in the table, no number in the line, no such attribute; or the number 0
            return (value in self.exact) is not self.excludes
        named = value in self.exact or (bool(self.prefixes) and value.startswith(self.prefixes))
        return named is not self.excludes

    def __repr__(self) -> str:
        said = " or ".join("none" if value is None else str(value) for value in self.wanted)
        return f"{self.fact} {'other than' if self.excludes else '='} {said}"


def conditions(match: Match, tables: Mapping[str, PrefixTable]) -> tuple[Condition, ...]:
    """All but `time`; ValueError for a table or zone that does not exist."""
    made = []
    for field in match.__struct_fields__:
        wanted = getattr(match, field)
        if wanted == () or field == "time":
            continue
        if field in PLACES:
            made += [_attribute(field, name, *several(values)) for name, values in wanted.items()]
        elif field in ("from_", "to"):
            made += _zones(field.rstrip("_"), *several(wanted), tables)
        else:
            values, excludes = several(wanted)
            made.append(Condition(field, values, excludes=excludes))
    return tuple(made)


def several(written: Any) -> tuple[tuple[Any, ...], bool]:
    """The values of a condition, and whether they are excluded."""
    excludes = isinstance(written, Excluded)
    values = written.not_ if isinstance(written, Excluded) else written
    return (values if isinstance(values, tuple) else (values,)), excludes


def _attribute(place: str, name: str, values: tuple[str, ...], excludes: bool) -> Condition:
    if not ATTRIBUTE.fullmatch(name):
        raise ValueError(f"{place}: expected an attribute named with letters, digits, '-' and '_', not {name!r}")
    if not values:
        raise ValueError(f'{place}: expected a value of {name}, "*" for any or "" for none')
    return Condition(f"{place}.{name}", values, excludes=excludes)


def _zones(end: str, wanted: tuple[str, ...], excludes: bool, tables: Mapping[str, PrefixTable]) -> Iterator[Condition]:
    by_table: dict[str, list[str]] = {}
    for one in wanted:
        table, named, zone = one.partition(":")
        if table not in tables:
            known = ", ".join(sorted(tables)) or "none is there"
            raise ValueError(f"{end}: expected a table of destinations ({known}), not {table!r}")
        zones = tables[table].zones
        if named and not any(zone == each or (zone.endswith("*") and each.startswith(zone[:-1])) for each in zones):
            raise ValueError(f"{end}: expected a zone of the table {table}, not {zone!r}")
        by_table.setdefault(table, []).append(zone if named else "*")
    if len(by_table) > 1:
        raise ValueError(f"{end}: expected zones of one table, not of {' and '.join(by_table)}")
    for table, named_zones in by_table.items():
        yield Condition(f"{end} {table}", named_zones, excludes=excludes)


class View:
    """What a tariff looks at: the facts of a line, and the part of them by which its price is remembered."""

    def __init__(
        self,
        asked: Iterable[Condition],
        columns: Iterable[Column],
        named: Iterable[str],
        tables: Mapping[str, PrefixTable],
        numbers: Numbers | None,
    ) -> None:
        """
        asked:    conditions of all rows, discounts, counters and taxes
        columns:  values that prices take from destinations and attributes
        named:    facts whose value itself enters a price: parts of a counter's key
        """
        conditions, columns = tuple(asked), tuple(columns)
        by_value = {*named, *(f"subscriber.{one.name}" for one in columns if one.place == "subscriber")}
        facts = frozenset({one.fact for one in conditions} | by_value) - {"service", *LINE_FIELDS}
        self._getters = {fact: _getter(fact, tables, numbers) for fact in facts}
        # What is remembered of a fact with more values than can be, is which conditions on it hold.
        bits = {fact for fact in facts if fact in MANY_VALUED and fact not in by_value}
        self._simple = sorted(f for f in facts - bits if f in Inputs.__struct_fields__ and f not in ENDS.values())
        special = sorted(facts - bits - {*self._simple})
        self._special = [_special_key(fact, self._getters[fact], columns) for fact in special]
        for fact in sorted(bits):
            self._special.append(_bits(fact, self._getters[fact], [one for one in conditions if one.fact == fact]))

    def key(self) -> Getter | None:
        """Of two requests with the same key, service, rating group and service identifier the price is the same; None:
        nothing else is looked at."""
        simple, special = self._simple, self._special
        if not simple and not special:
            return None
        look: Getter = attrgetter(*simple) if simple else special[0]
        if not special:
            return look
        if len(special) == 1 and not simple:
            return special[0]
        if not simple:
            return lambda inputs: tuple([get(inputs) for get in special])
        return lambda inputs: (look(inputs), *[get(inputs) for get in special])

    def facts(self, inputs: Inputs, rating_group: int | None, service_id: int | None) -> dict[str, Any]:
        found = {fact: get(inputs) for fact, get in self._getters.items()}
        return found | {"service": inputs.service, "rating_group": rating_group, "service_id": service_id}


# Functions, and not methods: what they are bound to must not refer to them, or a catalogue that was replaced would wait
# for a collection of garbage that takes long among so many objects.


def _getter(fact: str, tables: Mapping[str, PrefixTable], numbers: Numbers | None) -> Getter:
    if fact == VISITED_CLOCK:
        return lambda inputs: visited_zone(inputs.visited)
    normal = numbers.normal if numbers is not None else _as_it_comes
    place, is_zone, table_name = fact.partition(" ")
    if is_zone:
        find, field = tables[table_name].find, ENDS[place]
        return lambda inputs: find(*normal(getattr(inputs, field)))
    if fact in ENDS.values():
        return lambda inputs: normal(getattr(inputs, fact))[0]
    place, is_attribute, name = fact.partition(".")
    if is_attribute and place == "network":
        return lambda inputs: taken_apart(inputs.network).get(name, "")
    if is_attribute:
        return lambda inputs: inputs.attributes.get(name, "")
    return attrgetter(fact)


def _as_it_comes(number: str) -> tuple[str, bool]:
    return number.removeprefix("+"), False


def _special_key(fact: str, get: Getter, columns: Iterable[Column]) -> Getter:
    """Key of a destination: its zone, and the columns that prices are taken from."""
    place, is_zone, _ = fact.partition(" ")
    if not is_zone:
        return get
    names = sorted({one.name for one in columns if one.place == place})

    def key(inputs: Inputs) -> Any:
        entry: DestinationRow | None = get(inputs)
        if entry is None or not names:
            return entry and entry.zone
        return entry.zone, tuple([entry.columns.get(name) for name in names])

    return key


def _bits(fact: str, get: Getter, asked_of: list[Condition]) -> Getter:
    def bits(inputs: Inputs) -> Any:
        value = {fact: get(inputs)}
        return tuple([one.holds(value) for one in asked_of])

    return bits
