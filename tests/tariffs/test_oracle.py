"""Prices of random tariffs against an oracle that was written from the specification alone.

`make test` runs some hundred cases of each property, always the same; `pytest -m fuzz` goes looking for more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tariffs.catalog import Assignment, Catalog
from tariffs.document import TariffError
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tests.tariffs.charging_harness import ChargingHarness
from tests.tariffs.oracle import Oracle
from tests.tariffs.oracle_account import Assigned, OracleAccount, OracleBucket, OraclePiece
from tests.tariffs.oracle_document import OracleFacts, OracleTariff
from tests.tariffs.random_cases import RandomCase, cases
from tests.tariffs.random_tariffs import ATTRIBUTES, ZONES

SECOND_MS = 1_000
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]


def some(examples: int) -> settings:
    """So many examples; more of them under `fuzz`."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)


def catalog_of(case: RandomCase) -> Catalog:
    """Its tariffs. A price that no ladder can hold is refused when it is loaded: that is no price, so no case."""
    try:
        return case.catalog()
    except TariffError as refused:
        assume("expected a price that is a fraction of numbers up to" not in refused.why)
        raise


def same(oracle: Oracle, harness: ChargingHarness, want: int, got: int) -> None:
    """The price to the micro-unit, what is left in each bucket, what counters count."""
    assert got == want
    assert harness.account.units() == oracle.account.units()
    assert harness.account.money() == oracle.account.money()
    if not any("minimum" in row for document in oracle.documents for row in document.rows):
        assert harness.account.balances() == oracle.account.balances()  # else: test_prices_in_doubt.py
    levels: dict[str, list[int]] = {}
    for (name, _, _), value in oracle.account.counters.items():
        levels.setdefault(name, []).append(value)
    for name, values in harness.levels().items():
        assert values == sorted(value for value in levels.get(name, []) if value), name


# ---------------------------------------------------------------- the price


def check_price(case: RandomCase) -> None:
    catalog, oracle = catalog_of(case), case.oracle()
    want = oracle.use(case.pieces)
    harness = case.harness(catalog)
    same(oracle, harness, want, harness.use(case.pieces))


@some(500)
@given(cases())
def test_price(case: RandomCase) -> None:
    """ "Rows are taken from the top: each one that matches prices until its limit is reached, and the first one without
    a limit is the last." "Prices pass through surcharges, then discounts, then tax, then the exchange rate, each exact;
    the result is one price per block." "Blocks begun are paid, the sum of a step is rounded once." """
    check_price(case)


@pytest.mark.fuzz
@some(20_000)
@given(cases())
def test_price_of_many(case: RandomCase) -> None:
    """As test_price."""
    check_price(case)


# ---------------------------------------------------------------- cuts


@some(400)
@given(cases(("seconds",)), st.lists(st.integers(1, 90), max_size=6), st.booleans())
def test_time_costs_the_same_however_it_is_cut(case: RandomCase, sizes: list[int], every_second: bool) -> None:
    """ "Cutting a session into reports, prepaid or postpaid, never changes its price." Whole, in the reports of the
    case, in others, second by second: rated anew at each, and by one ladder for as long as that says it holds ("use by
    time is cut there to the second")."""
    check_cuts_of_time(case, sizes, every_second)


@pytest.mark.fuzz
@some(5_000)
@given(cases(("seconds",)), st.lists(st.integers(1, 90), max_size=6), st.booleans())
def test_time_costs_the_same_however_it_is_cut_of_many(case: RandomCase, sizes: list[int], every_second: bool) -> None:
    """As above."""
    check_cuts_of_time(case, sizes, every_second)


def check_cuts_of_time(case: RandomCase, sizes: list[int], every_second: bool) -> None:
    catalog, oracle = catalog_of(case), case.oracle()
    want = oracle.use(case.pieces)
    other: list[OraclePiece] = []
    at = 0
    for size in [1] * case.total if every_second else [*sizes, case.total]:
        other.append(OraclePiece(case.start_ms + at * SECOND_MS, min(size, case.total - at)))
        at += other[-1].units
    for pieces in ([OraclePiece(case.start_ms, case.total)], case.pieces, other):
        for one_ladder in (False, True):
            harness = case.harness(catalog)
            same(oracle, harness, want, harness.use_by_one(pieces) if one_ladder else harness.use(pieces))


@some(150)
@given(cases(("octets", "units")), st.lists(st.integers(1, 700_000), max_size=5))
def test_volume_and_pieces_cost_the_same_however_they_are_cut(case: RandomCase, sizes: list[int]) -> None:
    """As above; "of volume nobody knows when it was used", so all reports are of one instant."""
    catalog, oracle = catalog_of(case), case.oracle()
    want = oracle.use([OraclePiece(case.start_ms, case.total)])
    other: list[OraclePiece] = []
    left = case.total
    for size in [*sizes, case.total]:
        other.append(OraclePiece(case.start_ms, min(size, left)))
        left -= other[-1].units
    for pieces in ([OraclePiece(case.start_ms, piece.units) for piece in case.pieces], other):
        for one_ladder in (False, True):
            harness = case.harness(catalog)
            same(oracle, harness, want, harness.use_by_one(pieces) if one_ladder else harness.use(pieces))


@some(250)
@given(cases(("seconds",)), st.sampled_from([1, 1, 1, 1, 1, 1, 1, 20]))
def test_time_that_is_over_costs_the_same(case: RandomCase, longer: int) -> None:
    """ "Use that has already happened enters at the same waist as phase RECORD: charged without grant, once.": rated
    when it is over, it costs what it would have cost step by step, over bands, periods and versions."""
    check_time_that_is_over(case, longer)


@pytest.mark.fuzz
@some(3_000)
@given(cases(("seconds",)), st.sampled_from([1, 1, 1, 1, 1, 1, 1, 20]))
def test_time_that_is_over_costs_the_same_of_many(case: RandomCase, longer: int) -> None:
    """As above."""
    check_time_that_is_over(case, longer)


def check_time_that_is_over(case: RandomCase, longer: int) -> None:
    """longer:  so many times as long"""
    catalog, oracle, whole = catalog_of(case), case.oracle(), OraclePiece(case.start_ms, case.total * longer)
    harness = case.harness(catalog)
    want = oracle.use([whole])
    same(oracle, harness, want, harness.record(whole))


# ---------------------------------------------------------------- laws


@some(100)
@given(cases(), st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_more_never_costs_less(case: RandomCase, shares: list[int]) -> None:
    """ "Use that happened is never priced again": what is used further only adds to the price. Asserted for every
    tariff, whichever prices its rows have: of one session, more of it from the same begin."""
    catalog = catalog_of(case)
    before = 0
    for share in [*sorted(shares), 100]:
        cost = case.harness(catalog).use([OraclePiece(case.start_ms, max(case.total * share // 100, 1))])
        assert cost >= before
        before = cost


@some(200)
@given(cases(), st.sampled_from([0, 1, 50_000, 99_999, 123_456, 700_000, 3_000_000]))
def test_what_is_granted_is_covered(case: RandomCase, money: int) -> None:
    """ "Never grant a block that is not covered": what was granted costs, when it is used, what was held for it, to the
    micro-unit, and leaves no debt; half of it costs no more. Of a session that is rounded it costs at most that."""
    catalog = catalog_of(case)
    harnesses = [case.harness(catalog) for _ in range(3)]
    for harness in harnesses:
        harness.account.buckets[-1].amount = money
    rated = harnesses[0].rated(case.start_ms)
    granted = harnesses[0].grant(
        rated, OraclePiece(case.start_ms, harnesses[0].within(rated, OraclePiece(case.start_ms, case.total)))
    )
    assert min(harnesses[0].account.balances()) >= 0
    if granted.units:
        cost = harnesses[1].climb(rated, OraclePiece(case.start_ms, granted.units))
        if rated.ladder is None or not rated.ladder.sum_to:
            assert cost == granted.cost
            assert harnesses[1].account.balances() == harnesses[0].account.balances()
        assert cost <= granted.cost
        assert min(harnesses[1].account.balances()) >= 0
        assert harnesses[2].climb(rated, OraclePiece(case.start_ms, -(-granted.units // 2))) <= granted.cost


@contextmanager
def machine_in(zone: str) -> Iterator[None]:
    """As if the machine stood there."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@some(60)
@given(cases())
def test_a_price_does_not_depend_on_where_the_machine_stands(case: RandomCase) -> None:
    """ "`zone`: in which zone the clock is read": the tariff's or the account's, and no other."""
    costs = set()
    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles", "Australia/Lord_Howe"):
        with machine_in(zone):
            costs.add(case.harness(catalog_of(case)).use(case.pieces))
    assert len(costs) == 1


@some(100)
@given(cases(), st.lists(st.tuples(st.sampled_from(ZONES), st.integers(-90_000, 90_000)), max_size=6))
def test_rating_depends_on_nothing_but_its_arguments(case: RandomCase, others: list[tuple[str, int]]) -> None:
    """ "Pure and total: no I/O, no clock." "Ladders are packed once and remembered by what the tariff looks at": the
    same is said whatever was rated before, and by a catalog that was loaded anew."""
    one, other = catalog_of(case), catalog_of(case)
    for zone, seconds in others:
        stranger = case.harness(one)
        stranger.inputs = msgspec.structs.replace(
            stranger.inputs, time_zone=zone, attributes=ATTRIBUTES | {"segment": zone}, called="+1" + str(abs(seconds))
        )
        stranger.rated(case.start_ms + seconds * SECOND_MS)
        case.harness(one).rated(case.start_ms + seconds * SECOND_MS)
    for piece in case.pieces:
        assert case.harness(one).rated(piece.at_ms) == case.harness(other).rated(piece.at_ms)
        assert case.harness(one).rated(piece.at_ms) == case.harness(one).rated(piece.at_ms)


# ---------------------------------------------------------------- counters from first use

RENTAL = """
tariff = "vod"
currency = "EUR"
counters.rented = { counts = "units", period = "48 h", by = "service_id" }
counters.mine = { counts = "units", period = "30 min", by = "subscriber" }
[[rows]]
when = { rating_group = 1 }
below = { rented = 2 }
flat = { price = "3.99", per = "1 unit" }
[[rows]]
when = { rating_group = 1 }
free = { unit = "units" }
[[rows]]
below = { mine = 3 }
flat = { price = "0.10", per = "1 unit" }
[[rows]]
flat = { price = "0.01", per = "1 unit" }
"""
EVENTS = st.tuples(
    st.integers(1, 30 * 3_600_000), st.sampled_from([1, 2]), st.sampled_from([7, 8]), st.sampled_from("ab")
)
HOURS_48 = 48 * 3_600_000


@some(200)
@given(st.lists(EVENTS, min_size=1, max_size=25))
@example([(1, 1, 7, "a"), (HOURS_48 - 1, 1, 7, "a"), (1, 1, 7, "a")])
def test_windows_from_first_use(events: list[tuple[int, int, int, str]]) -> None:
    """ "`period`: ... so long from first use"; "`by`: one counter for each of its values; "subscriber": one for each
    member of a shared account." """
    account, other = OracleAccount("EUR", [OracleBucket("money", 0)]), OracleAccount("EUR", [OracleBucket("money", 0)])
    catalog, document = Catalog([load_tariff(RENTAL, source="t.toml")]), OracleTariff(RENTAL)
    counters: dict[str, int] = {}
    since_ms: dict[str, int] = {}
    at_ms = 1_772_434_800_000
    for after_ms, group, service_id, subscriber in events:
        at_ms += after_ms
        facts = OracleFacts("vod", group, service_id, subscriber=subscriber)
        oracle = Oracle([document], [Assigned("vod")], account, facts, "units")
        inputs = Inputs("vod", subscriber=subscriber)
        harness = ChargingHarness(
            catalog, [Assignment("vod")], inputs, other, group, service_id, False, counters, since_ms
        )
        assert harness.use([OraclePiece(at_ms, 1)]) == oracle.use([OraclePiece(at_ms, 1)])
    assert account.balances() == other.balances()


def test_the_oracle_and_the_worked_example() -> None:
    """The table of tariffs/README.md, so that the oracle is known to read the document as people do."""
    text = """
        tariff = "voice-60-1"
        currency = "EUR"
        [[rows]]
        flat = { price = "0.09", per = "1 min", increment = "60/1" }
        setup = { fee = "0.05" }
        minimum = { charge = "0.10" }
        maximum = { charge = "3.00", then = "free" }
    """
    for seconds, micro in [(0, 0), (1, 150_000), (66, 150_000), (67, 150_500), (100, 200_000), (2000, 3_050_000)]:
        oracle = Oracle(
            [OracleTariff(text)],
            [Assigned("voice-60-1")],
            OracleAccount("EUR", [OracleBucket("money", 0)]),
            OracleFacts("voice"),
            "seconds",
        )
        assert oracle.use([OraclePiece(0, seconds)]) == micro
