"""What tariffs can say, as a network element sees it: bands, tiers, grades, two units at once, settings of grants."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from balances.structs.blob import blob_of
from balances.structs.charge import Phase
from balances.structs.posting import Post, Posting
from ocs.charging.settings import Regular
from protocol.diameter.dictionary.credit_control import RequestedAction, RequestedServiceUnit, TariffChangeUsage
from protocol.diameter.dictionary.tgpp_charging import MAX_REQUESTED_BANDWIDTH_DL, MAX_REQUESTED_BANDWIDTH_UL
from tariffs.units import Kind
from tests.ocs.charging.wire import SMS, VOICE, E, I, T, U, lines, mscc
from tests.ocs.charging.world import World

MB = 2**20
BEFORE, AFTER, UNKNOWN = TariffChangeUsage


def berlin(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * 1_000


def tariff(rows: str) -> str:
    return f'tariff = "t"\ncurrency = "EUR"\nzone = "Europe/Berlin"\n{rows}'


def world_at(text: str, rows: str, *, balance: str = "20.00", **options: Any) -> World:
    world = World(tariff(rows), **options)
    world.now_ms = berlin(text)
    world.account("a1", int(balance.replace(".", "")) * 10_000)
    return world


def spent(world: World, before: str = "20.00") -> str:
    micro = int(before.replace(".", "")) * 10_000 - world.balance()
    return f"{micro // 10**6}.{micro % 10**6 // 10**4:02}"


def later(world: World, seconds: int) -> None:
    world.now_ms += seconds * 1_000


PEAK = """
[bands.peak]
days = ["mon-fri"]
hours = "08:00-20:00"
[[rows]]
name = "peak"
when = { time = "peak" }
flat = { price = "PEAK", per = "UNIT" }
[[rows]]
name = "off"
flat = { price = "OFF", per = "UNIT" }
"""
CALLS = PEAK.replace("PEAK", "0.10").replace("OFF", "0.05").replace("UNIT", "1 min")
DATA_BY_TIME = PEAK.replace("PEAK", "0.02").replace("OFF", "0.01").replace("UNIT", "1 MB")
TELLS = Regular(tariff_change=True)


def test_a_call_is_cut_where_the_band_ends_and_a_minute_belongs_to_its_first_second() -> None:
    world = world_at("2026-11-24 19:58:30", CALLS)
    first = world.send(I, service_context_id=VOICE, **lines(mscc(None, ask={"cc_time": 600})))
    assert first.multiple_services_credit_control[0].granted_service_unit.cc_time == 600
    assert world.held() == 2 * 100_000 + 8 * 50_000
    later(world, 210)
    world.send(T, service_context_id=VOICE, **lines(mscc(None, used={"cc_time": 210})))
    assert spent(world) == "0.30"  # 19:58:30 and 19:59:30 at 0.10; 20:00:30 and 20:01:30 at 0.05


def test_volume_for_a_client_that_is_not_told_ends_at_the_boundary_and_is_priced_before_it() -> None:
    world = world_at("2026-11-24 19:55:00", DATA_BY_TIME)
    (line,) = world.send(I, **lines(mscc(10, ask={}))).multiple_services_credit_control
    assert line.validity_time == 300
    assert line.granted_service_unit.tariff_time_change is None
    assert world.held() == 200_000  # the price of now: no later one can be used
    later(world, 301)
    (line,) = world.send(
        U, **lines(mscc(10, ask={}, used={"cc_total_octets": 3 * MB}))
    ).multiple_services_credit_control
    assert spent(world) == "0.06"
    assert line.validity_time == 600
    assert world.held() == 100_000


def test_volume_for_a_client_that_is_told_holds_the_dearer_price_and_is_charged_by_period() -> None:
    world = world_at("2026-11-25 07:55:00", DATA_BY_TIME, gw_example_net=TELLS)
    (line,) = world.send(I, **lines(mscc(10, ask={}))).multiple_services_credit_control
    assert line.validity_time == 600
    assert line.granted_service_unit.tariff_time_change == berlin("2026-11-25 08:00:00") // 1_000
    assert world.held() == 200_000
    later(world, 600)
    pieces = [
        {"tariff_change_usage": BEFORE, "cc_total_octets": 2 * MB},
        {"tariff_change_usage": AFTER, "cc_total_octets": 3 * MB},
        {"tariff_change_usage": UNKNOWN, "cc_total_octets": MB},
    ]
    world.send(U, **lines(mscc(10, ask={}, used=pieces)))
    assert spent(world) == "0.09"  # 2 x 0.01, 3 x 0.02, and the one nobody knows at the cheaper


def test_use_without_a_period_counts_before_the_change() -> None:
    world = world_at("2026-11-25 07:55:00", DATA_BY_TIME, gw_example_net=TELLS)
    world.send(I, **lines(mscc(10, ask={})))
    later(world, 500)
    world.send(U, **lines(mscc(10, ask={}, used={"cc_total_octets": 5 * MB})))
    assert spent(world) == "0.05"


def test_the_price_changes_once_in_a_grant_and_no_grant_runs_over_a_second_change() -> None:
    rows = DATA_BY_TIME.replace('"08:00-20:00"', '"08:00-08:05"')
    world = world_at("2026-11-25 07:58:00", rows, gw_example_net=TELLS)
    (line,) = world.send(I, **lines(mscc(10, ask={}))).multiple_services_credit_control
    assert line.granted_service_unit.tariff_time_change == berlin("2026-11-25 08:00:00") // 1_000
    assert line.validity_time == 7 * 60


def test_bands_that_differ_in_more_than_the_price_are_not_announced() -> None:
    rows = DATA_BY_TIME.replace('price = "0.01", per = "1 MB"', 'price = "0.01", per = "1 MB", increment = "100 KB"')
    world = world_at("2026-11-24 19:55:00", rows, gw_example_net=TELLS)
    (line,) = world.send(I, **lines(mscc(10, ask={}))).multiple_services_credit_control
    assert (line.granted_service_unit.tariff_time_change, line.validity_time) == (None, 300)


TIER = """
[counters.monthly]
counts = "octets"
period = "month"
[[rows]]
name = "fast"
below = { monthly = "20 MB" }
flat = { price = "0.02", per = "1 MB" }
[[rows]]
name = "slow"
flat = { price = "0.01", per = "1 MB" }
grade = "slow"
"""
SLOW = {"data": {"grades": {"slow": {"down_bps": 64_000, "up_bps": 32_000}}}}


def test_after_so_much_a_month_it_is_cheaper_and_slower_and_the_network_is_told() -> None:
    world = world_at("2026-11-30 23:50:00", TIER, services=SLOW)
    (line,) = world.send(I, **lines(mscc(10, ask={"cc_total_octets": 15 * MB}))).multiple_services_credit_control
    assert (line.granted_service_unit.cc_total_octets, line.qos_information) == (15 * MB, None)
    used: dict[str, Any] = {"cc_total_octets": 15 * MB}
    (line,) = world.send(U, **lines(mscc(10, ask=used, used=used))).multiple_services_credit_control
    assert line.granted_service_unit.cc_total_octets == 5 * MB  # a grant never runs from one grade into another
    assert (line.final_unit_indication, line.validity_time) == (None, 600)
    later(world, 60)
    used5 = {"cc_total_octets": 5 * MB}
    (line,) = world.send(U, cc_request_number=2, **lines(mscc(10, ask={}, used=used5))).multiple_services_credit_control
    assert spent(world) == "0.40"
    speeds = MAX_REQUESTED_BANDWIDTH_DL.pack(64_000) + MAX_REQUESTED_BANDWIDTH_UL.pack(32_000)
    assert line.qos_information == speeds
    assert line.validity_time == 540  # with the month a new counter begins
    later(world, 541)
    (line,) = world.send(
        U, cc_request_number=3, **lines(mscc(10, ask={}, used={"cc_total_octets": MB}))
    ).multiple_services_credit_control
    assert spent(world) == "0.41"
    assert line.qos_information is None
    used1 = {"cc_total_octets": MB}
    world.send(T, cc_request_number=4, **lines(mscc(10, used=used1)))
    assert spent(world) == "0.43"


def one_row(element: str, service: str = "data") -> str:
    price = (
        'flat = { price = "0.01", per = "1 MB" }' if service == "data" else 'flat = { price = "0.06", per = "1 min" }'
    )
    return f"[[rows]]\n{price}\n{element}"


def granted(world: World, asked: int = 10 * MB) -> int | None:
    answer = world.send(I, **lines(mscc(10, ask={"cc_total_octets": asked})))
    unit = answer.multiple_services_credit_control[0].granted_service_unit
    found: int | None = unit.cc_total_octets if unit is not None else None
    return found


def test_a_part_is_granted_unless_all_is_wanted() -> None:
    assert granted(world_at("2026-11-24 12:00:00", one_row(""), balance="0.07")) == 7 * MB
    assert granted(world_at("2026-11-24 12:00:00", one_row("grant = { whole = true }"), balance="0.07")) is None
    assert granted(world_at("2026-11-24 12:00:00", one_row("grant = { whole = true }"), balance="0.10")) == 10 * MB


def test_a_grant_ends_as_asked_unless_blocks_are_whole() -> None:
    assert granted(world_at("2026-11-24 12:00:00", one_row("")), 10 * MB - 5) == 10 * MB - 5
    assert granted(world_at("2026-11-24 12:00:00", one_row("grant = { blocks = true }")), 10 * MB - 5) == 10 * MB


def test_smallest_grant_and_quantum() -> None:
    assert granted(world_at("2026-11-24 12:00:00", one_row('grant = { minimum = "5 MB" }')), MB) == 5 * MB
    assert granted(world_at("2026-11-24 12:00:00", one_row('grant = { quantum = "4 MB" }')), 5 * MB) == 8 * MB
    last = world_at("2026-11-24 12:00:00", one_row('grant = { minimum = "5 MB" }'), balance="0.03")
    assert granted(last, MB) == 3 * MB  # less than the minimum only as the last


def test_what_rating_looked_at_is_on_record() -> None:
    world = world_at("2026-11-24 12:00:00", one_row('[[discounts]]\nname = "vip"\npercent = "subscriber.off"\n'))
    world.subscriber("msisdn:491700000001", attributes={"off": "50"})
    world.now_ms = berlin("2026-11-24 12:00:00")
    world.send(I, **lines(mscc(10, ask={})))
    inputs = msgspec.msgpack.decode(world.model.ledger[-1].context)
    assert inputs["attributes"] == {"off": "50"}
    assert (inputs["subscriber"], inputs["time_zone"]) == ("s1", "Europe/Berlin")
    (usage,) = world.model.ledger[-1].record.usages
    assert (usage.granted, usage.used, usage.tag) == (10 * MB, 0, "t@1:1")
    assert blob_of(usage.ladder)


def test_an_assignment_that_ends_ends_the_grant() -> None:
    from tariffs.catalog import Assignment

    world = world_at("2026-11-24 12:00:00", one_row(""))
    until = (Assignment("t", 0, berlin("2026-11-24 12:05:00")),)
    world.subscriber("msisdn:491700000001", assignments=until)
    world.now_ms = berlin("2026-11-24 12:00:00")
    (line,) = world.send(I, **lines(mscc(10, ask={}))).multiple_services_credit_control
    assert line.validity_time == 300


def test_a_price_enquiry_says_what_it_would_cost_and_touches_nothing() -> None:
    world = world_at("2026-11-24 19:59:00", CALLS)
    answer = world.send(
        E,
        service_context_id=VOICE,
        requested_action=RequestedAction.PRICE_ENQUIRY,
        **lines(mscc(None, ask={"cc_time": 180})),
    )
    assert answer.cost_information.unit_value.value_digits == 200_000
    assert (spent(world), world.held(), world.model.ledger) == ("0.00", 0, [])


def test_use_reported_only_at_the_end_is_priced_from_its_beginning() -> None:
    """A TERMINATION of a session nobody has seen: eleven hours, from the night over the day into the evening."""
    world = world_at("2026-11-25 20:30:00", CALLS)
    world.send(T, service_context_id=VOICE, **lines(mscc(None, used={"cc_time": 13 * 3_600})))
    assert spent(world, "20.00") == "75.00"  # 30 min and 30 min at 0.05, 12 h at 0.10


def test_validity_of_a_bucket_may_begin_with_its_first_use() -> None:
    rows = '[[rows]]\nbundle = { per = "1 MB" }\n[[rows]]\nflat = { price = "0.01", per = "1 MB" }'
    world = world_at("2026-11-24 12:00:00", rows)
    posting = Posting(-1, Kind.OCTETS, 20 * MB, "top-up", "top-up", 50, window_ms=3_600_000)
    world.model.post(Post("a1", "k", "f", world.now_ms, 1_000, "me", "", "", [posting]))
    (bucket,) = [one for one in world.model.accounts["a1"].buckets if one.kind == Kind.OCTETS]
    assert (bucket.until_ms, bucket.window_ms) == (0, 3_600_000)
    later(world, 86_400)
    world.send(I, **lines(mscc(10, ask={})))
    (bucket,) = [one for one in world.model.accounts["a1"].buckets if one.kind == Kind.OCTETS]
    assert (bucket.until_ms, bucket.window_ms) == (world.now_ms + 3_600_000, 0)
    assert world.model.due["a1\n"] == bucket.until_ms
    assert world.model.ledger[-1].record.phase == Phase.START


@pytest.mark.parametrize("grant", ["", 'grant = { quantum = "5 messages", minimum = "5 messages" }'])
def test_an_event_is_what_was_asked_whatever_is_granted_at_a_time(grant: str) -> None:
    rows = f'[[rows]]\nwhen = {{ service = "sms" }}\nflat = {{ price = "0.10", per = "1 message" }}\n{grant}'
    world = world_at("2026-11-24 12:00:00", rows)
    asked = RequestedServiceUnit(cc_service_specific_units=2)
    debit, refund = RequestedAction.DIRECT_DEBITING, RequestedAction.REFUND_ACCOUNT
    world.send(E, service_context_id=SMS, requested_action=debit, requested_service_unit=asked)
    assert spent(world) == "0.20"
    one = RequestedServiceUnit(cc_service_specific_units=1)
    world.send(E, service_context_id=SMS, cc_request_number=1, requested_action=refund, requested_service_unit=one)
    assert spent(world) == "0.10"
    world.send(E, service_context_id=SMS, cc_request_number=2, requested_action=refund)
    assert spent(world) == "0.00"


def test_each_line_of_a_report_that_has_no_grant_is_priced_from_its_own_beginning() -> None:
    rows = """
        [counters.m]
        counts = "seconds"
        period = "month"
        by = "rating_group"
        [[rows]]
        below = { m = "1 min" }
        free = { unit = "seconds" }
        [[rows]]
        flat = { price = "0.10", per = "1 min" }
        """
    world = world_at("2026-12-01 00:30:00", rows)
    long, short = mscc(10, used={"cc_time": 3_600}), mscc(20, used={"cc_time": 60})
    world.send(T, service_context_id=VOICE, cc_request_number=1, **lines(long, short))
    counted = {one.key: one.used for one in world.model.accounts["a1"].counters}
    assert counted == {"m:2026-11:10": 1_800, "m:2026-12:10": 1_800, "m:2026-12:20": 60}


def test_a_cap_of_a_tariff_is_one_for_the_balances() -> None:
    """And a limit after which nothing is granted, or which is dearer, is none: what others hold counts."""
    for then, is_cap in (("free = true", True), ("", False), ('flat = { price = "0.20", per = "1 MB" }', False)):
        after = f"[[rows]]\n{then}" if then else ""
        rows = f"""
            [counters.spent]
            counts = "money"
            period = "month"
            [[rows]]
            below = {{ spent = "1.00" }}
            flat = {{ price = "0.10", per = "1 MB" }}
            {after}
            """
        world = world_at("2026-11-24 12:00:00", rows)
        world.send(I, **lines(mscc(10, ask={"cc_total_octets": 8 * MB})))
        second = world.send(I, session_id="gw.example.net;2", **lines(mscc(10, ask={"cc_total_octets": 8 * MB})))
        (line,) = second.multiple_services_credit_control
        assert line.granted_service_unit.cc_total_octets == (8 if is_cap or then else 2) * MB
        assert world.held() == (1_600_000 if is_cap else 2_200_000 if then else 1_000_000)


def test_bands_go_on_after_a_period_of_a_counter_ends_with_one() -> None:
    """Friday 23:50 to Saturday 00:20: ten minutes at 0.10 and twenty at 0.01, whatever is counted by the day."""
    rows = """
        [counters.today]
        counts = "seconds"
        period = "day"
        [bands.weekend]
        days = ["sat", "sun"]
        [[rows]]
        when = { time = "weekend" }
        flat = { price = "0.01", per = "1 min" }
        [[rows]]
        flat = { price = "0.10", per = "1 min" }
        """
    world = world_at("2026-11-28 00:20:00", rows)
    world.send(T, service_context_id=VOICE, **lines(mscc(None, used={"cc_time": 1_800})))
    assert spent(world) == "1.20"
