"""Use by time in which something changes: it costs what it would have cost if it had been reported at every change
(charging.md 4 to 6). Prices by hand."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.account import MAIN, Bucket
from balances.structs.charge import CUTS_MAX, Flag
from balances.structs.record import Usage
from protocol.diameter.dictionary.credit_control import RequestedAction, RequestedServiceUnit
from tariffs.catalog import Assignment, Catalog
from tariffs.document import TariffError
from tariffs.load import load_tariff
from tariffs.units import Kind
from tests.ocs.charging.test_tariffs import berlin, later, spent, tariff, world_at
from tests.ocs.charging.wire import VOICE, E, I, T, U, lines, mscc
from tests.ocs.charging.world import World

HOUR, DAY_MS = 3_600, 86_400_000
DEBIT, PRICE, CHECK = RequestedAction.DIRECT_DEBITING, RequestedAction.PRICE_ENQUIRY, RequestedAction.CHECK_BALANCE

NIGHT = """
bands.night = { hours = "20:00-03:00" }
[[rows]]
name = "night"
when = { time = "night" }
flat = { price = "0.01", per = "1 min" }
[[rows]]
name = "day"
flat = { price = "0.10", per = "1 min" }
"""


def event(world: World, action: RequestedAction, seconds: int, number: int = 0) -> Any:
    return world.send(
        E,
        service_context_id=VOICE,
        cc_request_number=number,
        requested_action=action,
        requested_service_unit=RequestedServiceUnit(cc_time=seconds),
    )


def cost(answer: Any) -> str:
    value = answer.cost_information.unit_value
    return f"{value.value_digits * 10.0 ** (value.exponent or 0):.2f}"


def call(world: World, kind: Any, number: int = 0, **fields: Any) -> Any:
    return world.send(kind, service_context_id=VOICE, cc_request_number=number, **lines(mscc(None, **fields)))


def usages(world: World) -> list[Usage]:
    return world.model.ledger[-1].record.usages


# --- longer than a ladder knows


def test_a_price_of_twelve_hours() -> None:
    """One hour of day, seven of night, four of day: 6.00 + 4.20 + 24.00."""
    world = world_at("2026-03-02T19:00:00", NIGHT, balance="50.00")
    assert cost(event(world, PRICE, 12 * HOUR)) == "34.20"
    assert event(world, CHECK, 12 * HOUR).check_balance_result == 0
    assert event(world, DEBIT, 12 * HOUR, 1).result_code == 2001
    assert spent(world, "50.00") == "34.20"


def test_ten_hours_reported_on_a_grant_of_two() -> None:
    world = world_at("2026-03-02T19:00:00", NIGHT, balance="50.00")
    granted = call(world, I, ask={"cc_time": 2 * HOUR}).multiple_services_credit_control[0].granted_service_unit
    later(world, 10 * HOUR)
    call(world, T, 1, used={"cc_time": 10 * HOUR})
    assert (granted.cc_time, spent(world, "50.00"), world.held()) == (2 * HOUR, "22.20", 0)
    assert sum(usage.used for usage in usages(world)) == 10 * HOUR


def test_without_a_grant_it_is_priced_from_its_begin() -> None:
    """An UPDATE nobody has heard of: its ladder is of the grant that would follow."""
    world = world_at("2026-03-02T21:00:00", NIGHT)
    call(world, U, 1, used={"cc_time": 2 * HOUR}, ask={})
    assert spent(world) == "6.60"  # 19:00 to 20:00 by day, then an hour of night


@pytest.mark.parametrize("days", [3, 30])
def test_many_days(days: int) -> None:
    """However long: each day has 420 minutes of night and 1,020 of day."""
    world = world_at("2026-03-02T20:00:00", NIGHT, balance="99999.00")
    want = days * (420 * 0.01 + 1_020 * 0.10)
    assert cost(event(world, PRICE, days * 24 * HOUR)) == f"{want:.2f}"
    event(world, DEBIT, days * 24 * HOUR, 1)
    assert spent(world, "99999.00") == f"{want:.2f}"
    assert len(usages(world)) <= CUTS_MAX


def test_what_is_longer_than_can_be_rated_is_not_sold_and_not_lost() -> None:
    """A counter of each day is a piece a day: 64 of them at once. An event is refused; use that happened is charged so
    far, and the rest is in suspense."""
    day = 'counters.talk = { counts = "seconds", period = "day" }\n[[rows]]\nflat = { price = "0.01", per = "1 h" }'
    world = world_at("2026-03-02T00:00:00", day, balance="99999.00")
    answer = event(world, DEBIT, 100 * 24 * HOUR)
    assert (answer.result_code, spent(world, "99999.00")) == (5031, "0.00")
    call(world, I, ask={"cc_time": 60 * 24 * HOUR})
    world.now_ms += 100 * DAY_MS
    call(world, T, 1, used={"cc_time": 100 * 24 * HOUR})
    assert sum(usage.used + usage.suspense for usage in usages(world)) == 100 * 24 * HOUR
    assert usages(world)[-1].suspense > 0
    assert usages(world)[-1].flags & Flag.SUSPENSE
    charged = sum(usage.used for usage in usages(world))
    assert spent(world, "99999.00") == f"{charged // HOUR * 0.01:.2f}"


# --- what changes inside it


OLD = tariff('[[rows]]\nflat = { price = "1.20", per = "1 min" }')
NEW = OLD.replace("1.20", "0.30").replace(
    'currency = "EUR"', 'currency = "EUR"\nvalid_from = 2026-03-03T00:00:00+01:00'
)


def of_two_versions(text: str) -> World:
    world = World(OLD)
    world.context.catalog = world.catalog = Catalog(
        [load_tariff(OLD, source="t.toml"), load_tariff(NEW, source="t.toml", version=2)]
    )
    world.now_ms = berlin(text)
    return world


def test_a_new_version_inside() -> None:
    """Three minutes at 1.20 and two at 0.30."""
    world = of_two_versions("2026-03-02T23:57:00")
    assert cost(event(world, PRICE, 300)) == "4.20"
    event(world, DEBIT, 300, 1)
    assert spent(world) == "4.20"
    assert [(usage.used, usage.tag) for usage in usages(world)] == [(180, "t@1:1"), (120, "t@2:1")]


def test_a_new_version_inside_a_report() -> None:
    world = of_two_versions("2026-03-02T23:57:00")
    call(world, I, ask={"cc_time": 300})
    later(world, 300)
    call(world, T, 1, used={"cc_time": 300})
    assert (spent(world), world.held()) == ("4.20", 0)


def test_another_assignment_inside() -> None:
    texts = [tariff(f'[[rows]]\nflat = {{ price = "{price}", per = "1 min" }}') for price in ("1.20", "0.30")]
    world = World(texts[0], texts[1].replace('"t"', '"u"'))
    change_ms = berlin("2026-03-03T00:00:00")
    world.subscriber("msisdn:491700000001", assignments=(Assignment("t", 0, change_ms), Assignment("u", change_ms)))
    world.now_ms = change_ms - 180_000
    assert cost(event(world, PRICE, 300)) == "4.20"


def test_the_end_of_a_month_inside() -> None:
    """Ten minutes a month at 0.01, then 0.10: nine of March are used, three more of March and two of April come."""
    rows = """
    counters.talk = { counts = "seconds", period = "month" }
    [[rows]]
    below = { talk = "10 min" }
    flat = { price = "0.01", per = "1 min" }
    [[rows]]
    flat = { price = "0.10", per = "1 min" }
    """
    world = world_at("2026-03-31T12:00:00", rows)
    event(world, DEBIT, 540)
    assert spent(world) == "0.09"
    world.now_ms = berlin("2026-03-31T23:57:00")
    assert cost(event(world, PRICE, 300, 1)) == "0.23"
    event(world, DEBIT, 300, 2)
    assert spent(world) == "0.32"
    counters = {counter.key: counter.used for counter in world.model.accounts["a1"].counters}
    assert counters == {"talk:2026-03": 720, "talk:2026-04": 120}


def test_a_window_that_ends_inside() -> None:
    """Ten minutes in each hour from first use at 0.01, then 0.10: 70 minutes are ten, fifty, and ten of a new hour."""
    rows = """
    counters.talk = { counts = "seconds", period = "1 h" }
    [[rows]]
    below = { talk = "10 min" }
    flat = { price = "0.01", per = "1 min" }
    [[rows]]
    flat = { price = "0.10", per = "1 min" }
    """
    world = world_at("2026-03-31T12:00:00", rows)
    assert cost(event(world, PRICE, 4_200)) == "5.20"
    event(world, DEBIT, 4_200, 1)
    assert spent(world) == "5.20"


# --- buckets


TALK = """
[[rows]]
bundle = { per = "1 s" }
[[rows]]
flat = { price = "0.60", per = "1 min" , increment = "1" }
"""


def bucket(world: World, **fields: Any) -> None:
    account = world.model.accounts["a1"]
    account.buckets.insert(0, Bucket(account.next_bucket, **{"kind": Kind.SECONDS, "priority": 10} | fields))
    account.next_bucket += 1


def of_bucket(world: World) -> int:
    return next(one.amount for one in world.model.accounts["a1"].buckets if one.id != MAIN)


def paid(world: World) -> str:
    """By the main bucket, which had 20.00."""
    main = next(one for one in world.model.accounts["a1"].buckets if one.id == MAIN)
    return f"{(20_000_000 - main.amount) / 10**6:.2f}"


def test_a_bucket_that_ends_inside() -> None:
    """3,700 s against a bucket that ends after 3,600: the last 100 s are paid by money."""
    world = world_at("2026-03-02T12:00:00", TALK)
    bucket(world, amount=10_000, until_ms=world.now_ms + 3_600_000)
    assert event(world, CHECK, 3_700).check_balance_result == 0
    event(world, DEBIT, 3_700, 1)
    assert (paid(world), of_bucket(world)) == ("1.00", 6_400)


def test_a_bucket_that_ends_inside_and_no_money() -> None:
    world = world_at("2026-03-02T12:00:00", TALK, balance="0.99")
    bucket(world, amount=10_000, until_ms=world.now_ms + 3_600_000)
    assert event(world, CHECK, 3_700).check_balance_result == 1
    assert event(world, DEBIT, 3_700, 1).result_code == 4012
    assert event(world, DEBIT, 3_600, 2).result_code == 2001


def test_a_bucket_that_begins_inside() -> None:
    """And until then money pays."""
    world = world_at("2026-03-02T12:00:00", TALK)
    bucket(world, amount=10_000, from_ms=world.now_ms + 100_000)
    event(world, DEBIT, 300)
    assert (paid(world), of_bucket(world)) == ("1.00", 9_800)


def test_a_pass_from_first_use_ends_inside() -> None:
    world = world_at("2026-03-02T12:00:00", TALK)
    bucket(world, amount=10_000, window_ms=3_600_000)
    event(world, DEBIT, 3_700)
    assert (paid(world), of_bucket(world)) == ("1.00", 6_400)


def test_a_report_over_the_end_of_a_bucket() -> None:
    """1,000 s until 10:05, I at 10:00, T at 10:10 with 600 s: five minutes are paid by money, to the second."""
    world = world_at("2026-03-02T10:00:00", TALK)
    bucket(world, amount=1_000, until_ms=world.now_ms + 300_000)
    answer = call(world, I, ask={"cc_time": 600}).multiple_services_credit_control[0]
    assert (answer.granted_service_unit.cc_time, answer.validity_time) == (600, 300)
    later(world, 600)
    call(world, T, 1, used={"cc_time": 600})
    assert (paid(world), world.held()) == ("3.00", 0)
    (expiry,) = [entry for entry in world.model.ledger[-1].record.entries if entry.why == "expiry"]
    assert expiry.amount == -700


def test_a_block_begun_before_the_end_of_its_bucket_is_paid_by_it() -> None:
    """Blocks of a minute, the bucket ends after 90 s: it pays two of three."""
    world = world_at("2026-03-02T10:00:00", TALK.replace('"1 s"', '"60 s"').replace('"1" }', '"60" }'))
    bucket(world, amount=1_000, until_ms=world.now_ms + 90_000)
    event(world, DEBIT, 180)
    assert (paid(world), of_bucket(world)) == ("0.60", 880)


def test_a_grant_holds_of_a_bucket_what_it_can_still_pay() -> None:
    """Nothing else is there to pay: the grant ends with the bucket, as the last."""
    world = world_at("2026-03-02T10:00:00", TALK, balance="0.00")
    bucket(world, amount=1_000, until_ms=world.now_ms + 300_000)
    answer = call(world, I, ask={"cc_time": 600}).multiple_services_credit_control[0]
    assert answer.granted_service_unit.cc_time == 300
    assert answer.final_unit_indication is not None


def test_two_periods_of_time_in_one_report() -> None:
    """Tariff-Change-Usage: what was used before the change ended where what was used after it began."""
    world = world_at("2026-03-02T19:50:00", NIGHT)
    call(world, I, ask={"cc_time": 1_200})
    later(world, 1_200)
    used = [{"cc_time": 600, "tariff_change_usage": 0}, {"cc_time": 600, "tariff_change_usage": 1}]
    call(world, T, 1, used=used)
    assert spent(world) == "1.10"


# --- blocks that end with their period


@pytest.mark.parametrize(("per_period", "cost"), [("", "5.00"), (", per_period = true", "10.00")])
def test_a_pass_of_a_day(per_period: str, cost: str) -> None:
    """5.00 for 500 MB, a day; 1 MB on the first day and 200 MB on the second, in one session."""
    rows = f"""
    counters.passes = {{ counts = "money", period = "day" }}
    [[rows]]
    below = {{ passes = "5.00" }}
    flat = {{ price = "5.00", per = "500 MB"{per_period} }}
    [[rows]]
    flat = {{ price = "1.00", per = "1 MB" }}
    """
    mb = 2**20
    world = world_at("2026-03-02T23:50:00", rows)
    world.send(I, **lines(mscc(10, ask={"cc_total_octets": mb})))
    later(world, 600)
    used = {"cc_total_octets": mb}
    world.send(U, cc_request_number=1, **lines(mscc(10, used=used, ask={"cc_total_octets": 200 * mb})))
    assert spent(world) == "5.00"
    later(world, 600)
    world.send(T, cc_request_number=2, **lines(mscc(10, used={"cc_total_octets": 200 * mb})))
    assert (spent(world), world.held()) == (cost, 0)


def test_blocks_end_with_a_period_of_the_calendar() -> None:
    for rows in (
        '[[rows]]\nflat = { price = "5", per = "500 MB", per_period = true }',
        'counters.c = { counts = "money", period = "24 h" }\n[[rows]]\nbelow = { c = "5" }\n'
        'flat = { price = "5", per = "500 MB", per_period = true }',
    ):
        with pytest.raises(TariffError, match="below` a counter of a day, week, month or year"):
            load_tariff(tariff(rows), source="t.toml")
