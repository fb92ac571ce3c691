"""Who pays for an open session (charging.md 5): the account and subscriber of its opening, whoever a later request
names; and where a session is sought that the named account does not have."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.structs.blob import blob_of, raw_of
from balances.structs.charge import Flag, Outcome, Result, Suspense
from balances.structs.record import Record, Usage
from balances.structs.session import Answer, SessionState
from ocs.charging.diameter.translate import to_request
from ocs.charging.profile import ServicePayer
from ocs.charging.request import Busy, ChargingAnswer
from ocs.charging.settings import Regular
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CcRequestType,
    RequestedAction,
    SubscriptionId,
    SubscriptionIdType,
    UnitValue,
)
from tests.ocs.charging.test_found_again import answered
from tests.ocs.charging.wire import IMSI, MSISDN, SMS, E, I, T, U, ccr, codes, lines, mscc, under
from tests.ocs.charging.world import EURO, LOST, NOT_SENT, World, failed

MB = 2**20
SESSION = "gw.example.net;1700000000;1"
OTHER = SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data="491700000009")
COST = 10_000
DEBIT = RequestedAction.DIRECT_DEBITING


@pytest.fixture
def two() -> World:
    """Subscriber s1 of account a1, and s2 of account a2 with another number."""
    world = World()
    world.account("a2", 20 * EURO)
    add(world, "s2", "a2", "msisdn:491700000009")
    return world


def add(world: World, subscriber: str, account: str, *identities: str) -> None:
    profile = msgspec.structs.replace(world.known["msisdn:491700000001"], subscriber=subscriber, account=account)
    for name in (*identities, f"subscriber:{subscriber}"):
        world.known[name] = world.at_hand[name] = profile


def report(number: int = 1, octets: int = MB, ask: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"cc_request_number": number, **lines(mscc(10, ask=ask, used={"cc_total_octets": octets})), **fields}


def usage(world: World) -> tuple[Record, Usage]:
    record = world.model.ledger[-1].record
    return record, record.usages[-1]


@pytest.mark.parametrize("kind", [U, T])
def test_a_report_that_names_somebody_else_is_paid_by_who_opened_the_session(two: World, kind: CcRequestType) -> None:
    two.send(I, **lines(mscc(10, ask={})))
    answer = two.send(kind, **report(subscription_id=(OTHER,)))
    assert (answer.result_code, two.balance("a1"), two.balance("a2")) == (2001, 20 * EURO - COST, 20 * EURO)
    assert two.held("a1") == 0
    record, used = usage(two)
    assert (record.account, record.subscriber, bool(used.flags & Flag.OTHER_SUBSCRIBER)) == ("a1", "s1", True)
    assert "s2" not in two.model.sessions.get("a2", {})
    assert two.seen == ["where"]


def test_a_retransmission_of_it_moves_nothing(two: World) -> None:
    two.send(I, **lines(mscc(10, ask={})))
    for _ in range(3):
        assert two.send(T, flags=0xD0, **report(subscription_id=(OTHER,))).result_code == 2001
    assert (two.balance("a1"), two.balance("a2")) == (20 * EURO - COST, 20 * EURO)


def test_the_grant_after_it_is_rated_for_who_opened_the_session(two: World) -> None:
    """The other one has no tariff at all."""
    two.known["msisdn:491700000009"] = two.at_hand["msisdn:491700000009"] = msgspec.structs.replace(
        two.known["msisdn:491700000009"], assignments=()
    )
    two.send(I, **lines(mscc(10, ask={})))
    assert codes(two.send(U, **report(ask={}, subscription_id=(OTHER,)))) == [2001, 2001]


def test_two_subscribers_of_one_account_are_told_apart(two: World) -> None:
    add(two, "s3", "a1", "msisdn:491700000009")
    two.send(I, **lines(mscc(10, ask={})))
    assert two.send(T, **report(subscription_id=(OTHER,))).result_code == 2001
    record, used = usage(two)
    assert (record.subscriber, bool(used.flags & Flag.OTHER_SUBSCRIBER)) == ("s1", True)
    assert two.seen == []


def test_numbers_of_two_subscribers_in_one_request(two: World) -> None:
    """The IMSI is of s2, the MSISDN of s1: the first one pays, whichever of the profiles is at hand, and goes on paying
    when only the other comes."""
    add(two, "s2", "a2", "imsi:001010000000001")
    for session in ("gw;1;1", "gw;1;2"):
        two.send(I, session_id=session, subscription_id=(IMSI, MSISDN), **lines(mscc(10, ask={})))
        two.send(T, session_id=session, **report(subscription_id=(MSISDN,)))
        assert two.balance("a1") == 20 * EURO
        two.at_hand = {"msisdn:491700000001": two.at_hand["msisdn:491700000001"]}
    assert two.balance("a2") == 20 * EURO - COST - COST


def test_a_subscriber_who_moved_to_another_account_meanwhile(two: World) -> None:
    """Not somebody else: nothing is marked."""
    two.send(I, **lines(mscc(10, ask={})))
    add(two, "s1", "a2", "msisdn:491700000001")
    two.send(T, **report())
    assert (two.balance("a1"), two.balance("a2"), two.held("a1")) == (20 * EURO - COST, 20 * EURO, 0)
    assert not usage(two)[1].flags & Flag.OTHER_SUBSCRIBER


def test_a_new_sim_takes_the_number_and_not_the_call(two: World) -> None:
    two.send(I, **lines(mscc(10, ask={})))
    add(two, "s2", "a2", "msisdn:491700000001")
    two.send(U, **report(ask={}))
    two.send(T, **report(2))
    assert (two.balance("a1"), two.balance("a2")) == (20 * EURO - 2 * COST, 20 * EURO)


# --- sessions nobody has ------------------------------------------------------------------------------------------


def test_only_then_is_it_charged_unmatched(two: World) -> None:
    answer = two.send(U, **report(ask={}))
    assert (answer.result_code, two.balance("a1")) == (5002, 20 * EURO - COST)
    assert usage(two)[1].flags & Flag.UNMATCHED
    assert two.seen == ["where"]
    two.send(U, **report(2, ask={}))
    assert two.seen == ["where"]


def test_a_termination_leaves_a_tombstone(two: World) -> None:
    assert two.send(T, **report()).result_code == 5002
    assert two.model.sessions["a1"][SESSION].state == SessionState.CLOSED
    assert two.send(I, **lines(mscc(10, ask={}))).result_code == 5012
    assert (two.balance("a1"), two.held("a1")) == (20 * EURO - COST, 0)


@pytest.mark.parametrize("error", [NOT_SENT, LOST])
def test_where_it_is_must_be_answered(two: World, error: Exception) -> None:
    two.where = lambda session: failed(error)  # type: ignore[method-assign]
    answer = two.answer(ccr(U, **report(ask={})))
    assert answer is None if error is LOST else isinstance(answer, Busy)
    assert (two.balance("a1"), two.model.ledger) == (20 * EURO, [])


@pytest.mark.parametrize(
    ("asked", "fields", "opened_ms"),
    [
        (False, {}, 0),
        (True, {"flags": 0xD0}, 0),
        (True, {"event_timestamp": 1_700_000_000 - 7_200}, 0),
        (False, {"event_timestamp": 1_700_000_000 - 600}, 0),
        (True, {}, 1_700_000_000_000 - 60_000),
    ],
    ids=["T clear, of now", "T set", "older than Redis remembers", "of a while ago", "the store was opened since"],
)
def test_postgres_is_asked_for_what_redis_may_have_forgotten(
    two: World, asked: bool, fields: dict[str, Any], opened_ms: int
) -> None:
    two.opened_ms = opened_ms
    assert two.send(U, **report(ask={}, **fields)).result_code == 5002
    assert two.seen == (["where", "session_known"] if asked else ["where"])
    assert two.balance("a1") == 20 * EURO - COST


def test_what_postgres_remembers_as_charged_is_answered_again(two: World) -> None:
    two.send(I, **lines(mscc(10, ask={})))
    first = two.send(T, **report())
    two.requests_known[SESSION, "3:1"] = blob_of(raw_of(msgspec.msgpack.encode(outcome_of(two))))
    two.sessions_known[SESSION] = ("a1", "s1")
    two.model.sessions.clear()
    two.wheres.clear()
    again = two.send(T, flags=0xD0, **report())
    assert (again.result_code, codes(again)) == (first.result_code, codes(first))
    assert two.balance("a1") == 20 * EURO - COST
    assert two.seen == ["where", "session_known", "request_known"]


def outcome_of(world: World) -> Outcome:
    (session,) = world.model.sessions["a1"].values()
    answer = msgspec.msgpack.decode(blob_of(session.answers[-1]), type=Answer)
    return msgspec.msgpack.decode(blob_of(answer.outcome), type=Outcome)


def test_late_use_of_a_session_postgres_remembers_goes_to_its_account(two: World) -> None:
    two.sessions_known[SESSION] = ("a2", "s2")
    two.send(T, flags=0xD0, **report())
    assert (two.balance("a1"), two.balance("a2")) == (20 * EURO, 20 * EURO - COST)
    record, used = usage(two)
    assert record.subscriber == "s2"
    assert used.flags & Flag.OTHER_SUBSCRIBER
    assert used.flags & Flag.UNMATCHED


def test_use_inside_an_initial_of_a_service_nobody_configured_is_not_lost(two: World) -> None:
    answer = two.send(I, service_context_id="nothing@example.net", **lines(mscc(10, used={"cc_total_octets": MB})))
    assert answer.result_code == 5031
    assert usage(two)[1].suspense == MB


def test_use_inside_an_initial_is_charged(two: World) -> None:
    answer = two.send(I, **report(0, ask={}))
    assert codes(answer) == [2001, 2001]
    assert two.balance("a1") == 20 * EURO - COST
    assert usage(two)[1].flags & Flag.UNMATCHED


def test_a_profile_of_somebody_gone_settles_without_a_price(two: World) -> None:
    two.send(I, **lines(mscc(10, ask={})))
    for name in ("msisdn:491700000001", "subscriber:s1"):
        del two.known[name], two.at_hand[name]
    assert codes(two.send(U, **report(ask={}, subscription_id=(OTHER,)))) == [2001, 5031]
    assert two.balance("a1") == 20 * EURO - COST


def test_an_answer_says_what_was_unusual_about_its_request(two: World) -> None:
    """For the counters of the peer; a Session-Id that is used again is one of them."""
    two.send(I, **lines(mscc(10, ask={})))
    two.send(T, **report())
    two.now_ms += 5 * 60_000
    answer = two.answer(ccr(I, **lines(mscc(10, ask={}))))
    assert isinstance(answer, ChargingAnswer)
    assert (answer.result, answer.marks) == (Result.OK, Flag.REUSED)
    assert two.model.sessions["a1"][SESSION].incarnation == 2


def test_equal_events_under_new_end_to_end_ids_are_charged_once_and_said_so() -> None:
    """Three equal SMS under one Session-Id and number, T clear: one debit, and the second and third are marked; with
    `reuses_numbers` each is an event of its own."""
    for world, debits in ((World(), 1), (World(gw_example_net=Regular(reuses_numbers=True)), 3)):
        marks = []
        for end_to_end in (11, 12, 13):
            sms = to_request(ccr(E, service_context_id=SMS, requested_action=DEBIT), "gw", world.context.settings)
            answer = answered(world, under(sms, end_to_end))
            assert answer.result is Result.OK
            marks.append(answer.marks)
        assert world.balance() == 20 * EURO - debits * 70_000
        assert marks == ([0, Flag.EQUAL, Flag.EQUAL] if debits == 1 else [0, 0, 0])


def test_an_equal_event_that_is_sent_again_is_nothing_unusual() -> None:
    world = World()
    for key in ({}, {}, {"resend": True, "message": 9}):
        sms = to_request(ccr(E, service_context_id=SMS, requested_action=DEBIT), "gw", world.context.settings)
        assert answered(world, msgspec.structs.replace(sms, key=msgspec.structs.replace(sms.key, **key))).marks == 0


@pytest.mark.parametrize(("opened", "named", "usable"), [("USD", "EUR", False), ("EUR", "USD", True)])
def test_money_is_of_the_currency_of_who_pays(two: World, opened: str, named: str, usable: bool) -> None:
    """charging.md 2: an amount of another currency than the account's is set aside, its hold is released."""
    for name in ("msisdn:491700000001", "subscriber:s1", "msisdn:491700000009", "subscriber:s2"):
        currency = opened if name in ("msisdn:491700000001", "subscriber:s1") else named
        two.known[name] = two.at_hand[name] = msgspec.structs.replace(two.known[name], currency=currency)
    two.model.accounts["a1"].currency, two.model.accounts["a2"].currency = opened, named
    two.send(I, **lines(mscc(10, ask=cents(500, 840 if opened == "USD" else 978))))
    assert two.held("a1") == 5 * EURO
    asked = {"cc_request_number": 1, "subscription_id": (OTHER,), **lines(mscc(10, used=cents(300, 978)))}
    answer = two.send(T, **asked)
    assert codes(answer) == ([2001, 2001] if usable else [2001, 5004])
    assert (two.balance("a1"), two.held("a1")) == ((17 if usable else 20) * EURO, 0)
    _, used = usage(two)
    assert (used.suspense, used.set_aside) == ((0, 0) if usable else (3 * EURO, Suspense.UNUSABLE))
    again = two.send(T, flags=0xD0, **asked)  # a repeat says the same, whoever was read first
    assert (codes(again), two.balance("a1")) == (codes(answer), (17 if usable else 20) * EURO)


def cents(amount: int, currency: int) -> dict[str, Any]:
    value = UnitValue(value_digits=amount, exponent=-2)
    return {"cc_money": CcMoney(unit_value=value, currency_code=currency)}


# --- payers of services -------------------------------------------------------------------------------------------


def pays_for(world: World, service: str, account: str) -> None:
    """Another account pays for one service of s1 from now on."""
    payers = (ServicePayer(service, account, "EUR", "Europe/Berlin"),)
    for name in ("msisdn:491700000001", "subscriber:s1"):
        world.known[name] = world.at_hand[name] = msgspec.structs.replace(world.known[name], payers=payers)


def test_the_payer_of_a_service_costs_no_further_call(two: World) -> None:
    pays_for(two, "data", "a2")
    two.send(I, **lines(mscc(10, ask={})))
    two.send(U, **report(ask={}))
    two.send(T, **report(2))
    assert (two.balance("a1"), two.balance("a2"), two.seen) == (20 * EURO, 20 * EURO - 2 * COST, [])
    assert len(two.charged) == 3
    two.send(E, service_context_id=SMS, requested_action=DEBIT, session_id="sms;1", **lines(mscc(ask={})))
    assert two.charged[-1].account == "a1"


@pytest.mark.parametrize("how", ["moved", "another payer"])
def test_an_open_session_is_settled_by_the_old_payer_and_granted_nothing_more(two: World, how: str) -> None:
    two.send(I, **lines(mscc(10, ask={})))
    if how == "moved":
        add(two, "s1", "a2", "msisdn:491700000001")
    else:
        pays_for(two, "data", "a2")
    assert codes(two.send(U, **report(ask={}))) == [2001, 4010]
    assert (two.balance("a1"), two.held("a1"), two.balance("a2")) == (20 * EURO - COST, 0, 20 * EURO)
    two.send(T, **report(2, 0))
    assert codes(two.send(I, session_id="gw;2", **lines(mscc(10, ask={})))) == [2001, 2001]
    assert (two.held("a1"), two.held("a2") > 0) == (0, True)
