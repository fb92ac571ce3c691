"""Which row prices a line: order, conditions, versions, assignments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariffs.build_ladder import REMEMBERED_MAX, find
from tariffs.catalog import Assignment, Catalog
from tariffs.draft import RatingVerdict
from tariffs.inputs import Inputs
from tariffs.ladder import check_ladder
from tariffs.load import load_tariff
from tariffs.rating import rate, same_from
from tariffs.tariff import Rated, Tariff
from tests.tariffs.tables import rated, tariff

ROWS = """
[[rows]]
name = "free"
when = { service = "data", rating_group = [0, 99] }
free = true
[[rows]]
name = "chat"
when = { service = "data", service_id = 7 }
free = true
[[rows]]
name = "abroad"
when = { service = "data", visited = ["310*", "20404"] }
flat = { price = "1", per = "1 MB" }
[[rows]]
name = "slow"
when = { service = "data", rat_type = 2, apn = "internet" }
flat = { price = "0.005", per = "1 MB" }
[[rows]]
name = "unnamed"
when = { service = "data", rating_group = "none" }
flat = { price = "0.02", per = "1 MB" }
[[rows]]
name = "data"
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
name = "home"
when = { service = ["voice", "sms"], called = "49*", role = 0 }
flat = { price = "0.01", per = 1 }
"""

WHICH = """
service  rating_group  service_id  facts                                row
data     0             -           -                                    free
data     99            -           visited=31026                        free       # the first row that matches
data     10            7           -                                    chat
data     10            -           visited=310260                       abroad
data     10            -           visited=20404                        abroad
data     10            -           visited=20408                        data
data     10            -           rat_type=2,apn=internet              slow
data     10            -           rat_type=2,apn=ims                   data       # all conditions must hold
data     10            -           apn=internet                         data
data     -             -           -                                    unnamed
voice    -             -           called=491701,role=0                 home
sms      5             -           called=491701,role=0                 home
sms      5             -           called=331701,role=0                 -
voice    -             -           called=491701,role=1                 -
voice    -             -           -                                    -
"""


def ask(catalog: Catalog, service: str, group: int | None, sid: int | None, at_ms: int = 0, **facts: Any) -> Rated:
    inputs = Inputs(service, **facts)
    names = sorted(catalog.tariffs)
    return rate(catalog, [Assignment(name) for name in names], "EUR", [(group, sid)], inputs, at_ms)[0]


@pytest.mark.parametrize("line", WHICH.strip().splitlines()[1:])
def test_which_row(line: str) -> None:
    service, group, sid, facts, row = line.partition("#")[0].split()
    given: dict[str, Any] = {}
    if facts != "-":
        given = dict(fact.split("=") for fact in facts.split(","))
    for number in ("rat_type", "role"):
        if number in given:
            given[number] = int(str(given[number]))
    catalog = Catalog([tariff(ROWS)])
    for _ in range(2):  # the second time it is remembered
        found = ask(catalog, service, None if group == "-" else int(group), None if sid == "-" else int(sid), **given)
        assert found.verdict is (RatingVerdict.RATING_FAILED if row == "-" else RatingVerdict.PRICED)
        assert found.why == ("no row of the subscriber's tariffs matches" if row == "-" else f"t@1:{row}")


def test_a_price_is_a_packed_ladder_made_once() -> None:
    catalog = Catalog([tariff(ROWS)])
    one, other = ask(catalog, "data", 10, None), ask(catalog, "data", 10, None)
    assert one is other
    assert one.packed
    assert one.ladder is not None
    check_ladder(one.ladder)
    assert one.ladder.tag == "t@1:data"
    assert {step.scope for step in one.ladder.steps} == {"data"}


def test_rating_groups_from_outside_do_not_fill_memory() -> None:
    one = tariff(ROWS)
    for group in range(REMEMBERED_MAX + 10):
        find(one, group, None, Inputs("data"))
    assert len(one.remembered) <= REMEMBERED_MAX


def versions() -> Catalog:
    def version(number: int, price: str, valid_from: str) -> Tariff:
        head = f"valid_from = {valid_from}T00:00:00Z" if valid_from else ""
        text = f'tariff = "t"\ncurrency = "EUR"\n{head}\n[[rows]]\nflat = {{ price = "{price}", per = 1 }}'
        return load_tariff(text, source="t.toml", version=number)

    return Catalog([version(1, "1", ""), version(2, "2", "1970-01-02"), version(3, "3", "1970-01-02")])


@pytest.mark.parametrize(("at_ms", "tag"), [(0, "t@1:1"), (86_399_999, "t@1:1"), (86_400_000, "t@3:1")])
def test_the_version_in_force(at_ms: int, tag: str) -> None:
    assert ask(versions(), "sms", None, None, at_ms).why == tag


def test_assignments_are_tried_in_order_and_windows_are_half_open() -> None:
    texts = {
        "promo": '[[rows]]\nwhen = { service = "data" }\nfree = true',
        "base": '[[rows]]\nflat = { price = "1", per = 1 }',
    }
    catalog = Catalog(
        load_tariff(f'tariff = "{name}"\ncurrency = "EUR"\n{rows}', source=name) for name, rows in texts.items()
    )
    chain = [Assignment("promo", 100, 200), Assignment("base", 50)]

    def which(service: str, at_ms: int) -> str:
        return rate(catalog, chain, "EUR", [(1, None)], Inputs(service), at_ms)[0].why.partition("@")[0]

    assert which("data", 49) == "no tariff of the subscriber is in force"
    assert which("data", 99) == "base"
    assert which("data", 100) == which("data", 199) == "promo"
    assert which("data", 200) == "base"
    assert which("sms", 150) == "base"  # promo has no row for it: the next tariff is asked


def test_unknown_tariffs_and_foreign_currencies_do_not_price() -> None:
    catalog = Catalog([tariff(ROWS)])
    lines, inputs = [(0, None), (1, None)], Inputs("data")
    assert {r.verdict for r in rate(catalog, [Assignment("gone")], "EUR", lines, inputs, 0)} == {
        RatingVerdict.RATING_FAILED
    }
    assert {r.why for r in rate(catalog, [Assignment("t")], "USD", lines, inputs, 0)} == {
        "no exchange rate from EUR into USD, the currency of the account"
    }
    assert len(rate(catalog, [], "EUR", lines, inputs, 0)) == 2


OFF = '[[discounts]]\nname = "d"\npercent = "subscriber.off"\n[[rows]]\nflat = { price = "1", per = "1 min" }'
CAP = """
counters.month = { counts = "octets", period = "month" }
[[rows]]
below = { month = "subscriber.cap" }
flat = { price = "1", per = "1 MB" }
"""


@pytest.mark.parametrize(
    ("rows", "attribute", "text", "why"),
    [
        (OFF, "off", "ten", "a percentage from 0 to 1000 with at most four decimals, not 'ten'"),
        (OFF, "off", "2000", "a percentage from 0 to 1000 with at most four decimals, not '2000'"),
        ('[[rows]]\nflat = { price = "subscriber.p", per = "1 min" }', "p", "1,50", "an amount of money such as"),
        ('[[rows]]\nflat = { price = "subscriber.p", per = "1 min" }', "p", "99999", "at most 8053.063679 for 60 s"),
        (
            '[[rows]]\nflat = { price = 1, per = "1 min" }\nsetup = { fee = "subscriber.fee" }',
            "fee",
            "9999999999",
            "at most 9007199254.740991 (2^53 micro-units), not 9999999999",
        ),
        (
            '[[rows]]\nflat = { price = 1, per = "1 min", increment = "subscriber.steps" }',
            "steps",
            "1 MB",
            "an increment in seconds",
        ),
        (CAP, "cap", "lots", "a unit out of octet"),
    ],
)
def test_an_attribute_that_says_no_price(rows: str, attribute: str, text: str, why: str) -> None:
    found = rated(rows, "voice", attributes={attribute: text})
    assert found.verdict is RatingVerdict.RATING_FAILED
    assert found.why.startswith(f"t@1: subscriber.{attribute}: expected {why}")


def test_a_promotion_that_is_assigned_twice_counts_once() -> None:
    def promotion(name: str, percent: int, hours: str) -> Tariff:
        text = f"""
            tariff = "{name}"
            currency = "EUR"
            promotion = true
            bands.now = {{ hours = "{hours}" }}
            [[discounts]]
            name = "{name}"
            when = {{ time = "now" }}
            percent = {percent}
            """
        return load_tariff(text, source=name)

    catalog = Catalog([
        tariff('[[rows]]\nflat = { price = "1", per = "1 min" }'),
        promotion("evening", 50, "18:00-20:00"),
        promotion("morning", 10, "10:00-11:00"),
    ])  # fmt: skip
    names = ("t", "evening", "evening", "morning")
    at_ms = 10 * 3_600_000 + 1_800_000
    found = rate(catalog, [Assignment(name) for name in names], "EUR", [(None, None)], Inputs("voice"), at_ms)[0]
    assert found.ladder is not None
    assert (found.ladder.steps[0].price, found.why) == (900_000, "t@1+evening@1+morning@1:1")


DAY_MS = 86_400_000
INSTANT = st.integers(0, 9).map(DAY_MS.__mul__)
ASSIGNED = st.builds(Assignment, st.sampled_from(["a", "a", "b", "nights", "gone"]), INSTANT, INSTANT | st.just(0))
NIGHTS = """
[bands.night]
hours = "22:00-06:00"
[[rows]]
when = { service = "data", time = "night" }
free = true
"""


@settings(deadline=None)
@given(days=st.sets(st.integers(1, 9), max_size=3), assigned=st.lists(ASSIGNED, max_size=3), at=INSTANT, later=INSTANT)
def test_from_when_on_a_price_stays(days: set[int], assigned: list[Assignment], at: int, later: int) -> None:
    """Where it says so, every later instant has the same price."""

    def version(name: str, number: int, price: int, head: str = "", rows: str = "") -> Tariff:
        row = f'[[rows]]\nwhen = {{ service = "data" }}\nflat = {{ price = "{price}", per = 1 }}'
        text = f'tariff = "{name}"\ncurrency = "EUR"\nzone = "UTC"\n{head}\n{rows}\n{row}'
        return load_tariff(text, source="t.toml", version=number)

    made = [
        version("a", 1, 1),
        version("b", 1, 2, "valid_from = 1970-01-04T00:00:00Z"),
        version("nights", 1, 3, "", NIGHTS),
    ]
    made += [version("a", day + 1, day, f"valid_from = 1970-01-{day + 1:02}T00:00:00Z") for day in sorted(days)]
    catalog = Catalog(made)

    def priced(instant: int) -> Any:
        return rate(catalog, assigned, "EUR", [(10, None)], Inputs("data"), instant)

    from_ms = same_from(catalog, assigned, "EUR", at)
    if from_ms is not None:
        assert from_ms <= at
        assert priced(max(from_ms, later)) == priced(from_ms) == priced(at)
    assert same_from(catalog, assigned, "USD", at) is None or not priced(at)[0].packed
    if not days and assigned == [Assignment("a")]:
        assert from_ms == 0
