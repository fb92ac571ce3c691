"""From CCR to CCA: where results stand (charging.md section 5)."""

from __future__ import annotations

from typing import Any

import pytest

from balances import keys
from balances.structs.account import SuspendReasons
from balances.structs.charge import Flag, Suspense
from balances.structs.record import ASIDE
from ocs.charging.request import Busy, ChargingAnswer
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    FinalUnitAction,
    RequestedAction,
    RequestedServiceUnit,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import (
    RATING_GROUP,
    SERVICE_CONTEXT_ID,
    SERVICE_IDENTIFIER,
)
from protocol.diameter.dictionary.tgpp_charging import ImsInformation, ServiceInformation
from tariffs.units import Kind
from tests.ocs.charging.wire import IMSI, VOICE, E, I, T, U, ccr, codes, lines, mscc
from tests.ocs.charging.world import EURO, World

MB = 2**20
PORTAL = {"data": {"final": {"action": "redirect", "address": "http://topup.example.net/"}}}
MIXED = """
tariff = "t"
currency = "EUR"
[[rows]]
when = { rating_group = 1 }
barred = true
[[rows]]
when = { rating_group = 2 }
uncontrolled = true
[[rows]]
when = { rating_group = 10 }
flat = { price = "1", per = "1 MB" }
"""


def test_a_refused_initial_says_so_at_command_level_and_in_every_line() -> None:
    world = World()
    world.account("a1", 0)
    answer = world.send(I, **lines(mscc(10, ask={}), mscc(11, ask={})))
    assert codes(answer) == [4012, 4012, 4012]
    assert answer.error_message == "the balance does not cover it"
    assert world.send(I, session_id="s2", service_context_id=VOICE).result_code == 4012


def test_one_line_granted_is_a_session() -> None:
    world = World()
    world.account("a1", 0)
    assert codes(world.send(I, **lines(mscc(10, ask={}), mscc(99, ask={})))) == [2001, 4012, 2001]


def test_an_update_keeps_2001_with_4012_in_the_line() -> None:
    world = World()
    world.account("a1", 100_000)
    first = world.send(I, **lines(mscc(10, ask={})))
    assert (
        first.multiple_services_credit_control[0].final_unit_indication.final_unit_action is FinalUnitAction.TERMINATE
    )
    assert first.multiple_services_credit_control[0].volume_quota_threshold is None  # nothing more to ask for
    answer = world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": 10 * MB})))
    assert codes(answer) == [2001, 4012]


def test_an_update_without_lines_is_refused_at_command_level() -> None:
    world = World()
    world.account("a1", 50_000)
    world.send(I, service_context_id=VOICE, requested_service_unit=RequestedServiceUnit(cc_time=60))
    answer = world.send(
        U,
        cc_request_number=1,
        service_context_id=VOICE,
        requested_service_unit=RequestedServiceUnit(cc_time=60),
        used_service_unit=(UsedServiceUnit(cc_time=60),),
    )
    assert codes(answer) == [4012]
    assert world.held() == 0


def test_a_refused_initial_with_a_portal_is_a_success_without_units() -> None:
    world = World(services=PORTAL)
    world.account("a1", 0)
    answer = world.send(I, **lines(mscc(10, ask={})))
    (line,) = answer.multiple_services_credit_control
    assert codes(answer) == [2001, 2001]
    assert (line.granted_service_unit, line.validity_time) == (None, 600)
    server = line.final_unit_indication.redirect_server
    assert line.final_unit_indication.final_unit_action is FinalUnitAction.REDIRECT
    assert server is not None
    assert (int(server.redirect_address_type), server.redirect_server_address) == (2, "http://topup.example.net/")
    # The user is at the portal now: nothing asked, told how long (RFC 8506 section 5.6.2).
    begun = world.send(U, cc_request_number=1, **lines(mscc(10))).multiple_services_credit_control[0]
    assert (begun.result_code, begun.validity_time, begun.granted_service_unit) == (2001, 600, None)
    # Topped up: units again.
    world.model.accounts["a1"].buckets[0].amount = EURO
    again = world.send(U, cc_request_number=2, **lines(mscc(10, ask={}))).multiple_services_credit_control[0]
    assert again.granted_service_unit.cc_total_octets == 10 * MB


@pytest.mark.parametrize(
    ("final", "members"),
    [
        ({"action": "redirect", "address": "192.0.2.1", "address_kind": 0}, "redirect_server"),
        ({"action": "redirect", "address": "2001:db8::1", "address_kind": 1}, "redirect_server"),
        ({"action": "redirect", "address": "sip:topup@example.net", "address_kind": 3}, "redirect_server"),
        ({"action": "restrict_access", "filters": ["permit in ip from any to 192.0.2.1"]}, "restriction_filter_rule"),
        ({"action": "restrict_access", "filter_ids": ["portal"]}, "filter_id"),
    ],
)
def test_final_actions(final: dict[str, Any], members: str) -> None:
    world = World(services={"voice": {"final": final}})
    world.account("a1", 50_000)
    answer = world.send(I, service_context_id=VOICE, requested_service_unit=RequestedServiceUnit(cc_time=600))
    assert (answer.result_code, answer.granted_service_unit.cc_time) == (2001, 60)  # all there is
    indication = answer.final_unit_indication
    assert indication is not None
    assert getattr(indication, members)
    for other in {"redirect_server", "restriction_filter_rule", "filter_id"} - {members}:
        assert not getattr(indication, other)


def test_4010_4011_5031_and_4012_are_told_apart() -> None:
    world = World(MIXED)
    world.account("a1", 100)
    groups = lines(mscc(1, ask={}), mscc(2, ask={}), mscc(3, ask={}), mscc(10, ask={}))
    answer = world.send(I, **groups)
    assert codes(answer) == [2001, 4010, 4011, 5031, 4012]
    assert answer.failed_avp == (RATING_GROUP.pack(3),)
    alone = world.send(I, session_id="s2", **lines(mscc(3, ask={}, service_identifier=(5,))))
    assert (codes(alone), alone.failed_avp) == ([5031, 5031], (RATING_GROUP.pack(3),))
    assert alone.error_message == "no row of the subscriber's tariffs matches"
    service = world.send(I, session_id="s3", **lines(mscc(None, ask={}, service_identifier=(5,))))
    assert service.failed_avp == (SERVICE_IDENTIFIER.pack(5),)


def test_a_whole_session_uncontrolled_is_4011_at_command_level() -> None:
    text = 'tariff = "t"\ncurrency = "EUR"\n[[rows]]\nuncontrolled = true'
    assert World(text).send(I, service_context_id=VOICE).result_code == 4011
    assert codes(World(text).send(I, **lines(mscc(1, ask={})))) == [2001, 4011]


@pytest.mark.parametrize(("kind", "code"), [(I, 5030), (U, 5002), (T, 5002)])
def test_nobody_we_know(kind: CcRequestType, code: int) -> None:
    world = World()
    assert world.send(kind, subscription_id=(IMSI,), **lines(mscc(10, ask={}))).result_code == code
    assert world.send(kind, subscription_id=None, **lines(mscc(10, ask={}))).result_code == code
    assert not world.charged


def test_nobody_s_event() -> None:
    assert (
        World().send(E, requested_action=RequestedAction.DIRECT_DEBITING, subscription_id=(IMSI,)).result_code == 5030
    )


def test_use_reported_for_nobody_is_on_record() -> None:
    world = World()
    answer = world.send(T, subscription_id=(IMSI,), **lines(mscc(10, used={"cc_total_octets": 5 * MB})))
    assert answer.result_code == 5002
    assert world.seen == ["load imsi:001010000000001", "where"]
    record = world.model.ledger[-1].record
    (usage,) = record.usages
    assert (record.kind, record.account, record.session) == (
        ASIDE,
        keys.nobody(record.session),
        "gw.example.net;1700000000;1",
    )
    assert (usage.unit, usage.used, usage.suspense, usage.cost) == (Kind.OCTETS, 0, 5 * MB, 0)
    assert not world.model.accounts.keys() - {"a1"}
    assert (usage.flags & Flag.SUSPENSE, usage.set_aside) == (Flag.SUSPENSE, Suspense.NOBODY)


@pytest.mark.parametrize(
    ("used", "aside"),
    [
        ({"cc_total_octets": 5 * MB, "cc_time": 60}, {(Kind.OCTETS, 5 * MB)}),  # the same use, told in two units
        ({"cc_time": 60, "cc_service_specific_units": 3}, {(Kind.SECONDS, 60), (Kind.UNITS, 3)}),
    ],
    ids=["with the unit of the service", "without"],
)
def test_all_that_is_reported_for_nobody_is_on_record(used: dict[str, int], aside: set[tuple[Kind, int]]) -> None:
    world = World()
    world.send(T, subscription_id=(IMSI,), **lines(mscc(10, used=used)))
    assert {(usage.unit, usage.suspense) for usage in world.model.ledger[-1].record.usages} == aside


def test_a_session_never_seen_is_charged_and_5002() -> None:
    world = World()
    answer = world.send(T, **lines(mscc(10, used={"cc_total_octets": MB})))
    assert codes(answer) == [5002, 5002]
    assert world.balance() == 20 * EURO - 10_000
    assert world.model.ledger[-1].record.usages[0].flags & Flag.UNMATCHED


@pytest.mark.parametrize("kind", [I, E])
def test_a_context_nobody_serves(kind: CcRequestType) -> None:
    action = {"requested_action": RequestedAction.DIRECT_DEBITING} if kind is E else {}
    answer = World().send(kind, service_context_id="context@vendor.com", **action)
    assert (answer.result_code, answer.failed_avp) == (5031, (SERVICE_CONTEXT_ID.pack("context@vendor.com"),))
    assert answer.error_message == "no service is configured for the context 'context@vendor.com'"


def test_a_report_under_a_context_nobody_serves_is_settled_all_the_same() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    report = lines(mscc(10, ask={}, used={"cc_total_octets": MB}))
    answer = world.send(U, cc_request_number=1, service_context_id="context@vendor.com", **report)
    assert codes(answer) == [2001, 5031]
    assert answer.failed_avp == (SERVICE_CONTEXT_ID.pack("context@vendor.com"),)
    assert world.balance() == 20 * EURO - 10_000


def test_barred_subscribers_and_accounts() -> None:
    world = World()
    world.subscriber("msisdn:491700000001", barred=True)
    assert codes(world.send(I, **lines(mscc(10, ask={})))) == [4010, 4010]
    world.subscriber("msisdn:491700000001")
    world.account("a1", EURO, state=SuspendReasons.BARRED)
    assert codes(world.send(I, session_id="s2", **lines(mscc(10, ask={})))) == [4010, 4010]
    assert codes(world.send(I, session_id="s3", **lines(mscc(99, ask={})))) == [4010, 4010]


def test_emergency_is_never_refused() -> None:
    world = World()
    world.subscriber("msisdn:491700000001", barred=True, balance=0)
    world.account("a1", 0, state=SuspendReasons.BARRED)
    called = ServiceInformation(ims_information=ImsInformation(called_party_address="tel:112"))
    answer = world.send(I, service_context_id=VOICE, service_information=called)
    assert (answer.result_code, answer.granted_service_unit.cc_time) == (2001, 300)


def test_under_overload_only_an_emergency_is_served() -> None:
    """`New sessions and events are refused first ...; emergency never` (charging.md 11)."""
    world = World()
    world.subscriber("msisdn:491700000001")
    for number, served in (("tel:112", True), ("tel:491700000002", False)):
        called = ServiceInformation(ims_information=ImsInformation(called_party_address=number))
        asked = ccr(I, service_context_id=VOICE, service_information=called)
        answer = world.answer(asked, urgent_only=True)
        assert isinstance(answer, ChargingAnswer if served else Busy)
    assert len(world.charged) == 1
    catalog = world.context.catalog
    assert catalog.has_emergencies("voice")
    assert not catalog.has_emergencies("data")
