"""Random tariffs, as documents.

They are kept to what the specification gives one price.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

Table = dict[str, Any]

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns", "UTC"]
SERVICES = {"seconds": "voice", "octets": "data", "units": "sms"}
PERS = {
    "seconds": ["1 min", "1 s", "7 s", "1 h"],
    "octets": ["1 MB", "1 KB", "1000000 octets"],
    "units": ["1 message", "3 units"],
}
INCREMENTS = {
    "seconds": ["60/1", "30/6", "60", "1", "7/3", "20/45"],
    "octets": ["10 KB/1 KB", "100 KB", "7 KB/3 KB", "1 MB"],
    "units": ["1", "3/1", "2", "1/5"],
}
BUNDLED = {"seconds": ["60 s", "30 s"], "octets": ["100 KB", "1 MB"], "units": ["1 message", "3 units"]}
LIMITS: dict[str, list[Any]] = {
    "seconds": ["30 s", "1 min", "100 s", "2 min", "subscriber.seconds"],
    "octets": ["100 KB", "1 MB", "1500 KB", "subscriber.octets"],
    "units": [1, 3, 5, "subscriber.units"],
    "money": ["0.05", "0.2", "1", "subscriber.cap"],
}
ATTRIBUTES = {"price": "0.07", "cap": "0.33", "seconds": "70 s", "octets": "1 MB", "units": "4"}
"""Of every subscriber."""

WORLD = """prefix,zone,price,inc
49,Germany,0.05,{0}
4930,Germany Berlin,0.031,{1}
1,USA,0.2,{0}
"""


def world(unit: str) -> dict[str, bytes]:
    """A table of destinations, with increments of this unit."""
    return {"world.csv": WORLD.format(*INCREMENTS[unit]).encode()}


class Raw(str):
    """Text that stands in TOML as it is."""


MONEY = ["0.05", "0.06", "0.09", "0.01", "0.0004", "1", "0.123457", "0.000001", "0", Raw("0.07"), Raw("1e-3"), 2]
"""Text, or numbers, which are read exactly, too."""


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Raw) else str(value)


def text_of(document: Table) -> str:
    """A document as TOML; rows and changes as tables of their own."""
    tables = ("surcharges", "discounts", "taxes", "rows")
    lines = [f"{key} = {toml(value)}" for key, value in document.items() if key not in tables and value != {}]
    for key in tables:
        for each in document.get(key, []):
            lines.append(f"[[{key}]]")
            lines += [f"{name} = {toml(value)}" for name, value in each.items()]
    return "\n".join(lines) + "\n"


def one_of(draw: st.DrawFn, values: Sequence[Any]) -> Any:
    """One of them; the first is the simplest."""
    return draw(st.sampled_from(values))


def chance(draw: st.DrawFn, one_in: int) -> bool:
    """True once in so many times."""
    return draw(st.integers(1, one_in)) == one_in


@st.composite
def bands(draw: st.DrawFn) -> Table:
    """One band of time."""
    choices: dict[str, list[Any]] = {
        "hours": [
            "08:00-20:00", "20:00-06:00", "23:30-00:10", ["01:00-02:00", "07:58-08:01"], "02:00-03:00", "01:30-02:30",
            "07:59:41-20:00:17", "22:00:30-00:00:05",
        ],
        "days": [["mon-fri"], ["sat", "sun"], "fri-mon", "tue"],
        "dates": ["2026-04-01/2026-05-01", ["2026-03-29/2026-03-30", "2026-10-25/2027-01-01"]],
        "months": [["mar", "dec"], "apr"],
        "calendars": ["feast"],
        "except": ["feast"],
    }  # fmt: skip
    keys = draw(st.lists(st.sampled_from(["hours", *choices]), min_size=1, max_size=3))
    return {key: one_of(draw, choices[key]) for key in keys}


@st.composite
def changes(draw: st.DrawFn, most: int, named: Table, letter: str) -> list[Table]:
    """Surcharges or discounts."""
    found = []
    for place in range(draw(st.integers(0, most))):
        one: Table = {"name": f"{letter}{place}"}
        if chance(draw, 2):
            one["amount"] = one_of(draw, ["0.01", "0.003333", "0.2"])
        else:
            one["percent"] = one_of(draw, [50, 10, 33, "12.5", 100, "subscriber.discount", "subscriber.none"])
            if chance(draw, 3):
                one["of"] = "list"
        if named and chance(draw, 2):
            at = one_of(draw, list(named))
            one["when"] = {"time": {"not": at} if chance(draw, 4) else at}
        elif chance(draw, 4):
            one["when"] = {"subscriber": {"segment": one_of(draw, ["gold", "*", "", "g*"])}}
        if chance(draw, 4):
            one["fees"] = True
        elif chance(draw, 4):
            one["stack"] = False
        found.append(one)
    return found


def charges(draw: st.DrawFn) -> Table:
    """Set-up fee, what is off, minimum and maximum of a row."""
    found: Table = {}
    if chance(draw, 3):
        found["setup"] = {"fee": one_of(draw, ["0.05", "0.1", "0.012345"])}
        if chance(draw, 2):
            found["setup"]["waived"] = True
    if chance(draw, 4):
        found["off"] = one_of(draw, ["0.10", "0.0003", "0.25", "subscriber.price"])
    if chance(draw, 4):
        found["minimum"] = {"charge": one_of(draw, ["0.10", "0.0003"])}
    if chance(draw, 4):
        found["maximum"] = {"charge": one_of(draw, ["0.20", "0.51"])}
        if chance(draw, 2):
            found["maximum"]["then"] = "end"
    return found


def condition(draw: st.DrawFn, named: Table) -> Table:
    """When a row holds: some of the time the other way round."""
    found = plain_condition(draw, named)
    if not found or not chance(draw, 4):
        return found
    ((key, wanted),) = found.items()
    if isinstance(wanted, dict):
        return {key: {name: {"not": value} for name, value in wanted.items()}}
    return {key: {"not": wanted}}


def plain_condition(draw: st.DrawFn, named: Table) -> Table:
    """When a row holds."""
    if named and chance(draw, 2):
        return {"time": draw(st.lists(st.sampled_from(list(named)), min_size=1, max_size=2, unique=True))}
    if chance(draw, 4):
        return {"to": one_of(draw, ["world", "world:Germany*", "world:USA", "world:Germany Berlin"])}
    if chance(draw, 5):
        return {"subscriber": {"segment": one_of(draw, ["gold", ""])}}
    return {}


def limit(draw: st.DrawFn, unit: str, counters: Table) -> Table:
    """Until when it prices."""
    if chance(draw, 4):
        return {"first": one_of(draw, [each for each in LIMITS[unit] if not str(each).startswith("subscriber")])}
    if counters and chance(draw, 4):
        name = one_of(draw, list(counters))
        return {"below": {name: one_of(draw, LIMITS[counters[name]["counts"]])}}
    return {}


def bundle(draw: st.DrawFn, unit: str) -> Table:
    """Units of the account's buckets pay."""
    found: Table = {"per": one_of(draw, BUNDLED[unit])}
    if chance(draw, 3):
        found |= {"of": "units", "takes": one_of(draw, [1, 2, 3])}
    elif chance(draw, 2):
        found["increment"] = one_of(draw, INCREMENTS[unit])
    if chance(draw, 4):
        found["scope"] = "gift"
    if "/" not in found.get("increment", "") and chance(draw, 2):
        found["split"] = False
    return found


def flat(draw: st.DrawFn, unit: str, when: Table) -> Table:
    """Money pays."""
    found = {"price": one_of(draw, [*MONEY, "subscriber.price"]), "per": one_of(draw, PERS[unit])}
    if chance(draw, 2):
        found["increment"] = one_of(draw, INCREMENTS[unit])
    if "to" in when and not isinstance(when["to"], dict) and chance(draw, 2):
        found["price"] = "to.price"
        if chance(draw, 2):
            found["increment"] = "to.inc"
    if chance(draw, 2):
        found["rounding"] = one_of(draw, ["up", "down", "half_up"])
    if chance(draw, 4):
        found["split"] = False
    return found


def row(draw: st.DrawFn, unit: str, named: Table, counters: Table, *, beside: bool, always: bool) -> Table:
    """One row without set-up fee, minimum and maximum."""
    when = {} if always else condition(draw, named)
    found: Table = {"when": when} if when else {}
    if beside:  # of which row it is charged is clear only where none has a limit
        found["flat"] = flat(draw, unit, when)
        return found | {"beside": {"price": one_of(draw, MONEY), "per": one_of(draw, ["1 min", "7 s"])}}
    found |= limit(draw, unit, counters)
    base = one_of(draw, ["flat", "flat", "flat", "free", "bundle"])
    if base == "free":
        return found | {"free": {"unit": unit}}
    if base == "bundle":
        return found | {"bundle": bundle(draw, unit)}
    return found | {"flat": flat(draw, unit, when)}


@st.composite
def documents(
    draw: st.DrawFn, name: str, unit: str, *, letter: str = "c", beside: bool = False, whole: bool = False
) -> Table:
    """One tariff.

    letter:  its counters begin with it
    beside:  its rows charge time besides
    whole:   the last row always matches
    """
    named: Table = {f"b{at}": draw(bands()) for at in range(draw(st.integers(0, 3)))}
    counters: Table = {}
    for at in range(draw(st.integers(0, 2))):
        counter: Table = {"counts": one_of(draw, [unit, "money"])}
        counter["period"] = one_of(draw, ["day", "week", "month", "month from 15", "year", "ever"])
        if chance(draw, 4):
            counter["when"] = {"service": one_of(draw, ["voice", "other"])}
        if chance(draw, 4):
            counter["zone"] = one_of(draw, ["visited", "account", "Asia/Kolkata"])
        if chance(draw, 4):
            counter["by"] = one_of(draw, ["subscriber", "called"])
        counters[f"{letter}{at}"] = counter
    found: Table = {"tariff": name, "currency": one_of(draw, ["EUR", "EUR", "EUR", "USD"])}
    if chance(draw, 2):
        found["zone"] = one_of(draw, [*ZONES, "visited", "visited"])
    found["calendars"] = {"feast": ["12-25", "2026-03-29", "2026-04-01"]}
    found |= {"numbers": {"country": "49"}, "tables": {"world": "world.csv"}, "bands": named, "counters": counters}
    found["surcharges"] = draw(changes(2, named, "s"))
    found["discounts"] = draw(changes(2, named, "d"))
    taxes: list[Table] = []
    for at in range(draw(st.integers(0, 2))):
        tax: Table = {"name": f"t{at}", "percent": one_of(draw, [19, "7.7", Raw("2.5")]), "included": chance(draw, 2)}
        if chance(draw, 3):
            tax["when"] = {"subscriber": {"segment": "gold"}}
        taxes.append(tax)
    found["taxes"] = taxes
    many = draw(st.integers(1, 4))
    rows = [row(draw, unit, named, counters, beside=beside, always=whole and at == many - 1) for at in range(many)]
    for one in rows:
        if "free" not in one:
            one |= charges(draw)
    priced = [one for one in rows if "free" not in one]
    if priced and chance(draw, 3):
        directions = ["half_even", "up", "down", "half_up"]
        one_of(draw, priced)["round"] = {
            "to": one_of(draw, ["0.01", "0.05", "0.003"]),
            "rounding": one_of(draw, directions),
            "of": one_of(draw, ["line", "session"]),
        }
    found["rows"] = rows
    return found


@st.composite
def promotions(draw: st.DrawFn, currency: str) -> Table:
    """Changes to what another tariff prices."""
    named: Table = {f"b{at}": draw(bands()) for at in range(draw(st.integers(0, 2)))}
    found: Table = {"tariff": "promo", "currency": currency, "promotion": True, "bands": named}
    found["calendars"] = {"feast": ["12-25", "2026-03-29", "2026-04-01"]}
    found["surcharges"] = draw(changes(1, named, "q"))
    found["discounts"] = draw(changes(2, named, "p"))
    return found
