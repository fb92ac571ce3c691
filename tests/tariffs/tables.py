"""Tariffs and their prices as tables a product manager can read."""

from __future__ import annotations

from decimal import Decimal

from tariffs.catalog import Assignment, Catalog
from tariffs.inputs import Inputs
from tariffs.ladder import Ladder
from tariffs.load import load_tariff
from tariffs.price import price_of, units_for
from tariffs.rating import rate
from tariffs.tariff import Rated, Tariff
from tariffs.units import EXACT_MAX, MICRO, Kind

SIZES = {"octets": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "s": 1, "min": 60, "": 1}


def tariff(rows: str, head: str = "") -> Tariff:
    """A tariff "t" in EUR with these rows."""
    return load_tariff(f'tariff = "t"\ncurrency = "EUR"\n{head}\n{rows}', source="t.toml")


def rated(rows: str, service: str = "data", rating_group: int | None = None, **facts: object) -> Rated:
    catalog = Catalog([tariff(rows)])
    inputs = Inputs(service, **facts)  # type: ignore[arg-type]
    return rate(catalog, [Assignment("t")], "EUR", [(rating_group, None)], inputs, 0)[0]


def ladder(elements: str, service: str = "data") -> Ladder:
    found = rated(f"[[rows]]\n{elements}", service).ladder
    assert found is not None
    return found


def ms_per_unit(elements: str) -> int:
    return 1000 if rated(f"[[rows]]\n{elements}").unit == Kind.SECONDS else 0


def check(elements: str, table: str) -> None:
    """Each line of the table: a quantity and what it costs. Asked the other way, that money covers that quantity."""
    found, ms = ladder(elements), ms_per_unit(elements)
    for line in table.strip().splitlines():
        text, _, _ = line.partition("#")
        if not text.strip() or text.split()[0] == "use":
            continue
        *quantity, cost = text.split()
        units = int(quantity[0].replace("_", "")) * SIZES[quantity[1] if len(quantity) > 1 else ""]
        micro = int(Decimal(cost) * MICRO)
        assert price_of(found, units, ms_per_unit=ms) == micro, line
        if units and not any(dues.ends for dues in found.dues):
            assert units_for(found, micro, most=units, ms_per_unit=ms) == units, line
            if micro:
                assert units_for(found, micro - 1, most=units, ms_per_unit=ms) < units, line
    assert price_of(found, 0) == 0  # nothing used, nothing owed: set-up fee and minimum come with the first unit
    assert all(dues.fee <= EXACT_MAX for dues in found.dues)
