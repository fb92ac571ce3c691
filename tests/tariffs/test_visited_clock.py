"""Days and bands by the clock of the country that the user is in (charging.md section 6)."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariffs.calendar import zone
from tariffs.catalog import Assignment, Catalog
from tariffs.document import TariffError
from tariffs.explain import explain
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.rating import rate, same_from
from tariffs.visited_zones import COUNTRIES, SPREAD, visited_zone, zone_name
from tests.tariffs.customers import Customer
from tests.tariffs.oracle_account import OraclePiece

DAY_PASS = """
zone = "visited"
counters.today = { counts = "money", period = "day" }
[[rows]]
name = "day"
below = { today = "4.90" }
flat = { price = "4.90", per = "1000000000 octets" }
[[rows]]
name = "rest of the day"
free = { unit = "octets" }
"""


def test_a_day_is_a_date_of_the_country_visited() -> None:
    Customer(DAY_PASS, "data").in_turn(
        """
        start                  use     price   visited
        2026-03-02T12:00:00    5 KB    4.90    44010     # 20:00 in Tokyo
        2026-03-02T15:59:59    5 KB    0       44010
        2026-03-02T16:00:00    5 KB    4.90    44010     # midnight in Tokyo: the third of March
        2026-03-02T17:00:00    5 KB    0       26201     # in Berlin it is still the second, which is paid
        2026-03-02T23:30:00    5 KB    0       44010
        2026-03-03T00:00:00    5 KB    0       26201     # the third is paid too
        2026-03-03T23:30:00    5 KB    0       26201
        2026-03-04T01:00:00    5 KB    0       310410    # in New York it is the third until six in the morning
        2026-03-04T05:59:59    5 KB    0       310410
        2026-03-04T06:00:00    5 KB    4.90    310410
        2026-03-04T07:00:00    5 KB    0       90112     # at sea: the clock of the account
        2026-03-05T00:00:00    5 KB    4.90    -         # nothing is known
        """
    )


def test_bands_are_those_of_the_wall_that_the_user_sees() -> None:
    Customer(
        """
        zone = "visited"
        bands.night = { hours = "22:00-06:00" }
        [[rows]]
        name = "night"
        when = { time = "night" }
        flat = { price = "0.01", per = "1 min", increment = "1" }
        [[rows]]
        flat = { price = "0.06", per = "1 min", increment = "1" }
        """
    ).check(
        """
        start                  use     price   visited
        2026-03-02T12:00:00    60 s    0.06    26201
        2026-03-02T13:59:30    60 s    0.035   44010     # it becomes ten in the evening
        2026-03-02T14:00:00    60 s    0.01    44010
        2026-03-02T22:00:00    60 s    0.01    -
        2026-03-02T22:00:00    60 s    0.06    310410
        """
    )


def test_a_counter_has_a_clock_of_its_own() -> None:
    text = DAY_PASS.replace('period = "day"', 'period = "day", zone = "visited"').replace(
        'zone = "visited"\n', 'zone = "Europe/Berlin"\n', 1
    )
    Customer(text, "data").in_turn(
        """
        start                  use     price   visited
        2026-03-02T15:59:59    5 KB    4.90    44010
        2026-03-02T16:00:00    5 KB    4.90    44010
        2026-03-02T16:00:00    5 KB    0       26201
        """
    )
    home = text.replace(', zone = "visited"', ', zone = "account"')
    Customer(home, "data").in_turn(
        """
        start                  use     price   visited
        2026-03-02T15:59:59    5 KB    4.90    44010
        2026-03-02T16:00:00    5 KB    0       44010
        2026-03-03T00:00:00    5 KB    4.90    44010
        """
    )


NETWORKS = st.sampled_from(["26201", "44010", "310410", "50501", "90112", ""])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NETWORKS, st.integers(0, 30 * 60)), min_size=1, max_size=12))
def test_each_date_is_paid_once_wherever_it_is_seen(stops: list[tuple[str, int]]) -> None:
    """However often borders are crossed: as many days are paid as dates were seen while something was used."""
    customer = Customer(DAY_PASS, "data")
    at, seen, paid = datetime(2026, 3, 2, tzinfo=UTC), set(), 0
    clocks = {"262": "Europe/Berlin", "440": "Asia/Tokyo", "310": "America/New_York", "505": "Australia/Sydney"}
    for network, minutes in stops:
        at += timedelta(minutes=minutes)
        seen.add(at.astimezone(zone(clocks.get(network[:3], "Europe/Berlin"))).date())
        line = {"start": at.isoformat(), "use": "1 KB", "visited": network}
        paid += customer.harness(line).use([OraclePiece(round(at.timestamp() * 1_000), 1024)])
        assert paid == 4_900_000 * len(seen)


def test_no_grant_runs_over_a_midnight_of_the_country_visited() -> None:
    tariff = load_tariff(f'tariff = "t"\ncurrency = "EUR"\n{DAY_PASS}', source="t.toml")
    catalog = Catalog([tariff])
    noon_ms = 1_772_452_800_000  # 2026-03-02T12:00:00Z
    ends = {"44010": 3, "26201": 11, "310410": 17, "90112": 7, "": 7}  # hours to the next midnight
    for network in [*ends, *ends]:  # the second time from what is remembered
        inputs = Inputs("data", visited=network, time_zone="Asia/Karachi")
        (rated,) = rate(catalog, [Assignment("t")], "EUR", [(None, None)], inputs, noon_ms)
        assert rated.cut_ms == noon_ms + ends[network] * 3_600_000, network
    assert same_from(catalog, [Assignment("t")], "EUR", noon_ms) is None
    told = explain(catalog, [Assignment("t")], "EUR", (None, None), Inputs("data", visited="44010"), noon_ms)
    assert told.zone == "Asia/Tokyo"
    assert told.facts["visited_zone"] == "Asia/Tokyo"


@pytest.mark.parametrize(
    "head", ['zone = "visted"', 'counters.c = { counts = "money", period = "day", zone = "Mars" }']
)
def test_a_zone_that_is_none(head: str) -> None:
    with pytest.raises(TariffError, match=r'zone: expected a time zone .* or "account" or "visited"'):
        load_tariff(f'tariff = "t"\ncurrency = "EUR"\n{head}\n[[rows]]\nfree = true\n', source="t.toml")


def test_what_names_no_country() -> None:
    for network in ("", "262", "2620", "2620111", "90112", "262ab", "ims.mnc001", "٢٦٢٠١", "99999"):
        assert visited_zone(network) == ""
        assert zone_name("visited", Inputs("data", visited=network, time_zone="Asia/Tokyo")) == "Asia/Tokyo"
        assert zone_name("visited", Inputs("data", visited=network)) == "UTC"
    assert visited_zone("26201") == "Europe/Berlin"
    assert visited_zone("310410") == "America/New_York"


def test_the_countries_are_those_of_the_zone_database() -> None:
    zones, offsets = defaultdict(set), defaultdict(set)
    for line in (files("tzdata") / "zoneinfo" / "zone.tab").read_text("ascii").splitlines():
        if not line.startswith("#"):
            country, _, name = line.split("\t")[:3]
            zones[country].add(name)
            for month in (1, 7):
                offsets[country].add((month, datetime(2026, month, 15, tzinfo=zone(name)).utcoffset()))
    for code, (country, name) in COUNTRIES.items():
        assert len(code) == 3
        assert code.isdecimal()
        assert name in zones[country] or country == "XK"  # Kosovo, which ISO 3166 does not have
    assert {country for country, _ in COUNTRIES.values() if len(offsets[country]) > 2} == SPREAD
