"""From CCR to CCA: requests that take a slow path."""

from __future__ import annotations

import msgspec
import pytest

from ocs.charging.request import Busy
from protocol.diameter.dictionary.credit_control import (
    RequestedAction,
    RequestedServiceUnit,
)
from tests.ocs.charging.wire import IMSI, MSISDN, SMS, E, I, T, U, ccr, codes, lines, mscc
from tests.ocs.charging.world import EURO, LOST, NOT_SENT, NOW_MS, World

MB = 2**20
DEBIT, REFUND = RequestedAction.DIRECT_DEBITING, RequestedAction.REFUND_ACCOUNT


def test_on_the_hot_path_nothing_else_is_asked() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": MB})))
    assert world.seen == []


@pytest.mark.parametrize("status", ["full", "fenced"])
def test_an_initial_that_comes_to_nothing_leaves_no_trace_of_where_it_is(status: str) -> None:
    """Only the sweep of a session removes its `where:`; for what was never a session it would stay for ever."""
    world = World()
    world.answer(ccr(I, session_id="open", **lines(mscc(10, ask={}))))
    world.after = [status]
    assert isinstance(world.answer(ccr(I, session_id="new", **lines(mscc(10, ask={})))), Busy)
    assert set(world.wheres) == {"open"}
    world.after = [status]
    assert isinstance(world.answer(ccr(I, session_id="open", **lines(mscc(10, ask={})))), Busy)
    assert set(world.wheres) == {"open"}  # the session that is there keeps its own


def test_a_profile_not_at_hand_is_loaded_by_all_names_at_once() -> None:
    world = World()
    world.at_hand.clear()
    assert world.send(I, subscription_id=(IMSI, MSISDN), **lines(mscc(10, ask={}))).result_code == 2001
    assert world.seen == ["load imsi:001010000000001 msisdn:491700000001"]


def test_a_request_that_names_nobody_is_found_by_its_session() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    report = lines(mscc(10, ask={}, used={"cc_total_octets": MB}))
    answer = world.send(U, cc_request_number=1, subscription_id=None, **report)
    assert (codes(answer), world.seen) == ([2001, 2001], ["where"])
    assert answer.multiple_services_credit_control[0].granted_service_unit is not None
    assert world.balance() == 20 * EURO - 10_000


def test_a_session_whose_subscriber_is_gone_is_settled_and_granted_no_more() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    world.known.clear()
    world.at_hand.clear()
    answer = world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": MB})))
    assert codes(answer) == [2001, 5031]
    assert world.balance() == 20 * EURO - 10_000
    assert world.send(I, session_id="new", **lines(mscc(10, ask={}))).result_code == 5030


def test_an_open_session_stays_with_the_account_it_began_with() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    before = world.model.accounts["a1"]
    world.subscriber("msisdn:491700000001", account="a2", moved_ms=NOW_MS - 1, rev=2)
    before.profile_rev = 2
    world.model.accounts["a1"] = before
    world.send(T, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": MB})))
    assert (world.balance("a1"), world.balance("a2"), world.held("a1")) == (20 * EURO - 10_000, 20 * EURO, 0)


def test_an_account_redis_does_not_have_is_restored() -> None:
    world = World()
    world.absent["a1"] = world.model.accounts.pop("a1")
    assert world.send(I, **lines(mscc(10, ask={}))).result_code == 2001
    assert world.seen == ["restore a1"]


def test_a_stale_profile_is_loaded_again() -> None:
    world = World()
    world.model.accounts["a1"].profile_rev = 2
    world.known["msisdn:491700000001"] = msgspec.structs.replace(world.at_hand["msisdn:491700000001"], rev=2)
    assert world.send(I, **lines(mscc(10, ask={}))).result_code == 2001
    assert world.seen == ["load msisdn:491700000001"]


@pytest.mark.parametrize("status", ["fenced", "full"])
def test_what_was_certainly_not_done_may_be_tried_elsewhere(status: str) -> None:
    world = World()
    world.statuses = [status]
    assert world.answer(ccr(I)) == Busy(f"the store is {status}")
    world.broken = NOT_SENT
    assert world.answer(ccr(I)) == Busy("no pass")


def test_what_may_have_been_done_is_not_answered() -> None:
    world = World()
    world.broken = LOST
    assert world.answer(ccr(I)) is None


def test_an_account_that_never_comes_in() -> None:
    world = World()
    world.statuses = ["absent"] * 9
    assert isinstance(world.answer(ccr(I)), Busy)


def remembered(world: World) -> None:
    """The event is in PostgreSQL, and Redis has forgotten it."""
    world.send(E, service_context_id=SMS, requested_action=DEBIT)
    for key, once in world.model.answers.items():
        world.known_answers[key] = msgspec.msgpack.encode(once)
    world.model.answers.clear()


def test_an_event_sent_again_after_days_is_not_charged_twice() -> None:
    world = World()
    remembered(world)
    again = world.send(E, service_context_id=SMS, requested_action=DEBIT, flags=0xD0)
    assert (again.result_code, again.granted_service_unit.cc_service_specific_units) == (2001, 1)
    old = {"event_timestamp": NOW_MS // 1000 - 7_200}
    world.send(E, service_context_id=SMS, requested_action=DEBIT, **old)
    assert world.balance() == 20 * EURO - 70_000


def test_another_event_under_the_same_number_is_charged() -> None:
    world = World()
    remembered(world)
    two = RequestedServiceUnit(cc_service_specific_units=2)
    old = ccr(
        E,
        service_context_id=SMS,
        requested_action=DEBIT,
        requested_service_unit=two,
        event_timestamp=NOW_MS // 1000 - 7_200,
    )
    old.__dict__["end_to_end"] = 99
    world.answer(old)
    assert world.balance() == 20 * EURO - 210_000


def test_a_refund_after_days_finds_its_original() -> None:
    world = World()
    remembered(world)
    answer = world.send(E, service_context_id=SMS, requested_action=REFUND, cc_request_number=1)
    assert (answer.result_code, world.balance()) == (2001, 20 * EURO)
    lost = world.send(E, service_context_id=SMS, requested_action=REFUND, session_id="never", cc_request_number=1)
    assert lost.result_code == 5012
    assert lost.error_message == "what is to be refunded is not known"
