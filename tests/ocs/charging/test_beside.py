"""What is charged beside a line, in another unit: granted, reported, refunded and priced with it."""

from __future__ import annotations

import msgspec
import pytest

from balances.structs.charge import Result
from balances.structs.posting import Expire
from protocol.diameter.dictionary.credit_control import RequestedAction
from tariffs.catalog import Catalog
from tariffs.load import load_tariff
from tests.ocs.charging.test_tariffs import MB, PEAK, later, spent, tariff, world_at
from tests.ocs.charging.wire import VOICE, E, I, T, U, codes, lines, mscc
from tests.ocs.charging.world import World

BESIDE = """
[[rows]]
name = "hotspot"
flat = { price = "0.01", per = "1 MB" }
beside = { price = "0.02", per = "1 min" }
"""


def test_time_together_with_volume() -> None:
    world = world_at("2026-11-24 12:00:00", BESIDE)
    (line,) = world.send(I, **lines(mscc(10, ask={}))).multiple_services_credit_control
    granted = line.granted_service_unit
    assert (granted.cc_total_octets, granted.cc_time) == (10 * MB, 300)
    assert world.held() == 100_000 + 100_000
    (line,) = world.send(
        U, **lines(mscc(10, ask={}, used={"cc_total_octets": 3 * MB, "cc_time": 61}))
    ).multiple_services_credit_control
    assert spent(world) == "0.07"  # 3 MB, two minutes
    assert (line.granted_service_unit.cc_total_octets, line.granted_service_unit.cc_time) == (10 * MB, 300)
    world.send(T, cc_request_number=2, **lines(mscc(10, used={"cc_total_octets": MB, "cc_time": 59})))
    assert spent(world) == "0.08"  # the second minute was paid
    assert world.held() == 0


def test_of_two_units_both_are_granted_or_neither() -> None:
    world = world_at("2026-11-24 12:00:00", BESIDE, balance="0.10")
    answer = world.send(I, **lines(mscc(10, ask={})))
    (line,) = answer.multiple_services_credit_control
    # A fair part is 0.05 for each: 5 MB, and of the minutes two. What that leaves pays the sixth MB (charging.md 5).
    assert (line.granted_service_unit.cc_total_octets, line.granted_service_unit.cc_time) == (6 * MB, 120)
    assert world.held() == 100_000
    assert line.final_unit_indication is not None
    poor = world_at("2026-11-24 12:00:00", BESIDE, balance="0.02")
    assert codes(poor.send(I, **lines(mscc(10, ask={})))) == [4012, 4012]
    assert poor.held() == 0


BOTH = '[[rows]]\nflat = { price = "0.01", per = "1 MB" }\nbeside = { price = "0.02", per = "1 min" }'


def test_an_event_is_charged_beside_for_what_it_names_and_refunded_in_parts_of_the_whole() -> None:
    world = world_at("2026-11-24 12:00:00", BOTH)
    debit, refund = RequestedAction.DIRECT_DEBITING, RequestedAction.REFUND_ACCOUNT
    both = {"cc_total_octets": 5 * MB, "cc_time": 180}
    world.send(E, requested_action=debit, **lines(mscc(10, ask=both)))
    assert spent(world) == "0.11"
    world.send(E, cc_request_number=1, requested_action=refund, **lines(mscc(10, ask={"cc_total_octets": MB})))
    assert world.balance() == 20_000_000 - 110_000 + 22_000
    rest = world.send(E, cc_request_number=2, requested_action=refund, **lines(mscc(10, ask={})))
    assert (rest.result_code, spent(world)) == (2001, "0.00")
    assert [usage.result for usage in world.model.ledger[-1].record.usages] == [Result.OK]
    world.send(E, cc_request_number=3, requested_action=debit, **lines(mscc(10, ask={"cc_total_octets": 5 * MB})))
    assert spent(world) == "0.05"


def test_volume_beside_counts_before_a_change_like_any_other() -> None:
    rows = """
        [bands.peak]
        hours = "08:00-20:00"
        [[rows]]
        when = { time = "peak" }
        flat = { price = "0.10", per = "1 min" }
        beside = { price = "0.20", per = "1 MB" }
        [[rows]]
        flat = { price = "0.10", per = "1 min" }
        beside = { price = "0.01", per = "1 MB" }
        """
    for start, cost in (("07:58:00", "0.25"), ("19:58:00", "1.20")):
        world = world_at(f"2026-11-25 {start}", rows)
        world.send(I, service_context_id=VOICE, **lines(mscc(10, ask={})))
        later(world, 123)
        used = {"cc_time": 120, "cc_total_octets": 5 * MB}
        world.send(T, service_context_id=VOICE, **lines(mscc(10, used=used)))
        assert spent(world) == cost


def test_time_beside_that_has_no_grant_is_priced_from_its_beginning() -> None:
    rows = PEAK.replace(
        'flat = { price = "PEAK"', 'flat = { price = "0.01", per = "1 MB" }\nbeside = { price = "0.10"'
    ).replace('flat = { price = "OFF"', 'flat = { price = "0.01", per = "1 MB" }\nbeside = { price = "0.05"')
    world = world_at("2026-11-25 20:30:00", rows.replace("UNIT", "1 min"))
    world.send(T, **lines(mscc(10, used={"cc_total_octets": 0, "cc_time": 3_600})))
    assert spent(world) == "4.50"


ALONE = '[[rows]]\nname = "hotspot"\nflat = { price = "0.01", per = "1 MB" }'
USED = {"cc_total_octets": 3 * MB, "cc_time": 61}


def publish(world: World, rows: str) -> None:
    world.context.catalog = Catalog([load_tariff(tariff(rows), source="tariff.toml")])


def usages(world: World) -> list[tuple[int, int, int, int]]:
    return [(one.unit, one.used, one.suspense, one.cost) for one in world.model.ledger[-1].record.usages]


def test_a_tariff_that_ends_it_meanwhile_loses_nothing_that_was_used_beside() -> None:
    """A report is settled with the ladder stored with its hold; the tariff in force prices only the new grant."""
    world = world_at("2026-11-24 12:00:00", BESIDE)
    world.send(I, **lines(mscc(10, ask={})))
    publish(world, ALONE)
    (line,) = world.send(U, **lines(mscc(10, ask={}, used=USED))).multiple_services_credit_control
    assert spent(world) == "0.07"  # 3 MB, two minutes
    assert (line.result_code, line.validity_time) == (2001, 600)
    assert (line.granted_service_unit.cc_total_octets, line.granted_service_unit.cc_time) == (10 * MB, None)
    assert world.held() == 100_000  # nothing beside it any more
    world.send(T, cc_request_number=2, **lines(mscc(10, used=USED)))
    assert (spent(world), world.held()) == ("0.10", 0)  # granted alone: of the time nothing


def test_a_line_that_can_no_longer_be_rated_settles_what_is_beside_it_too() -> None:
    world = world_at("2026-11-24 12:00:00", BESIDE)
    world.send(I, **lines(mscc(10, ask={})))
    for name, profile in list(world.known.items()):
        world.known[name] = world.at_hand[name] = msgspec.structs.replace(profile, assignments=())
    assert codes(world.send(U, **lines(mscc(10, ask={}, used=USED)))) == [2001, 5031]
    assert (spent(world), world.held()) == ("0.07", 0)


def test_what_was_granted_alone_is_not_charged_beside_by_a_tariff_that_came_later() -> None:
    world = world_at("2026-11-24 12:00:00", ALONE)
    world.send(I, **lines(mscc(10, ask={})))
    publish(world, BESIDE)
    (line,) = world.send(U, **lines(mscc(10, ask={}, used=USED))).multiple_services_credit_control
    assert spent(world) == "0.03"
    assert (line.granted_service_unit.cc_total_octets, line.granted_service_unit.cc_time) == (10 * MB, 300)
    world.send(T, cc_request_number=2, **lines(mscc(10, used=USED)))
    assert (spent(world), world.held()) == ("0.10", 0)


def test_what_is_beside_an_expired_hold_is_settled_too() -> None:
    world = world_at("2026-11-24 12:00:00", BESIDE)
    world.send(I, **lines(mscc(10, ask={})))
    later(world, 3_600)
    publish(world, ALONE)
    session = world.charged[-1].session
    assert world.model.expire(Expire("a1", session, world.now_ms)).status == "ok"
    world.send(T, cc_request_number=1, **lines(mscc(10, used=USED)))
    assert (spent(world), world.held()) == ("0.07", 0)


@pytest.mark.parametrize(
    ("used", "cost"), [({"cc_total_octets": 3 * MB}, "0.03"), ({"cc_time": 61}, "0.04"), (USED, "0.07")]
)
def test_use_in_one_of_two_units_is_charged_once_and_set_aside_nowhere(used: dict[str, int], cost: str) -> None:
    world = world_at("2026-11-24 12:00:00", BESIDE)
    world.send(I, **lines(mscc(10, ask={})))
    world.send(U, **lines(mscc(10, ask={}, used=used)))
    assert spent(world) == cost
    assert [aside for _, _, aside, _ in usages(world)] == [0, 0]


def test_an_event_of_nothing_with_something_beside_it() -> None:
    """An amount of zero costs nothing (charging.md section 9); what else the event names is charged."""
    world = world_at("2026-11-24 12:00:00", BOTH)
    debit = RequestedAction.DIRECT_DEBITING
    both = {"cc_total_octets": 0, "cc_time": 180}
    assert codes(world.send(E, requested_action=debit, **lines(mscc(10, ask=both)))) == [2001, 2001]
    assert spent(world) == "0.06"
