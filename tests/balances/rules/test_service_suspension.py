"""charging.md section 7: a service with its own line of suspension."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.account import SuspendReasons
from balances.structs.charge import Outcome, Result
from balances.structs.thresholds import THRESHOLDS_MAX, Crossing, ServiceSuspension
from tariffs.units import EXACT_MAX
from tests.balances.rules.account_harness import FREE, Counterparts, ask, only, use
from tests.balances.rules.conftest import Opened

VOICE = ServiceSuspension("voice", 500, 800)


def with_line(opened: Opened, amount: int, *lines: ServiceSuspension, **account: int) -> Counterparts:
    world = opened(amount, **account)
    assert world.settings(services=list(lines)) == "ok"
    return world


def events(world: Counterparts) -> list[tuple[str, str, str]]:
    return [(one.kind, one.of, one.name) for one in world.records[-1].threshold_events]


def served(world: Counterparts, service: str, **others: Any) -> Outcome:
    return world.start(ask(asked=10, **others), session=f"{service};{len(world.sent)}", service=service)


def is_served(world: Counterparts, service: str) -> bool:
    return only(served(world, service)).result == Result.OK


def test_its_grants_are_refused_and_others_go_on(opened: Opened) -> None:
    """`Its grants are refused as under credit, other services go on`; `suspend / resume of account or service`."""
    world = with_line(opened, 1_000, VOICE)
    assert is_served(world, "voice")
    world.event(ask(asked=501))
    assert world.records[-1].threshold_events == [Crossing("suspend", "service", "voice", 500, 499)]
    assert world.account.state == SuspendReasons.ACTIVE
    assert world.account.services[0].suspended_ms == world.now_ms
    refused = served(world, "voice")
    assert (refused.result, only(refused).result) == (Result.CREDIT_LIMIT, Result.CREDIT_LIMIT)
    assert is_served(world, "data")


def test_it_resumes_at_its_own_level(opened: Opened) -> None:
    world = with_line(opened, 1_000, VOICE)
    world.event(ask(asked=501))
    world.topup(300)
    assert events(world) == []
    assert not is_served(world, "voice")
    world.topup(1)
    assert world.records[-1].threshold_events == [Crossing("resume", "service", "voice", 800, 800)]
    assert is_served(world, "voice")


def test_crossed_by_its_own_use_it_settles(opened: Opened) -> None:
    """`Settlement as ever`: what was used is charged, and no more is granted."""
    world = with_line(opened, 1_000, VOICE)
    world.start(ask(asked=600), service="voice")
    update = world.update(ask(asked=100, used=600), service="voice")
    assert (update.result, only(update).result, only(update).cost) == (Result.OK, Result.CREDIT_LIMIT, 600)
    assert events(world) == [("suspend", "service", "voice")]
    assert world.stop(use(50), service="voice").result == Result.OK
    assert world.money == (350, 0)


def test_free_and_emergency_are_left_alone(opened: Opened) -> None:
    world = with_line(opened, 100, VOICE)
    assert not is_served(world, "voice")
    assert only(served(world, "voice", emergency=True)).result == Result.OK
    free = world.start(ask(asked=10, free=True, by=FREE), session="free", service="voice")
    assert only(free).granted == 10


def test_its_portal_is_served(opened: Opened) -> None:
    world = with_line(opened, 100, VOICE)
    assert served(world, "voice", portal=True).result == Result.OK


def test_its_line_counts_in_the_place_of_the_account_s(opened: Opened) -> None:
    """`A service with a line of its own goes on when the account is suspended for credit`."""
    world = with_line(opened, 100, ServiceSuspension("voice", 0, 0), suspend_below=500, resume_at=500)
    assert world.account.state == SuspendReasons.CREDIT
    assert is_served(world, "voice")
    assert not is_served(world, "data")


@pytest.mark.parametrize("state", [SuspendReasons.BARRED, SuspendReasons.FRAUD, SuspendReasons.CLOSED])
def test_other_reasons_refuse_it_too(opened: Opened, state: SuspendReasons) -> None:
    world = with_line(opened, 1_000, ServiceSuspension("voice", 0, 0))
    world.settings(set_state=state)
    assert only(served(world, "voice")).result == Result.DENIED


def test_account_and_services_cross_in_one_call(opened: Opened) -> None:
    """`In this order: the account's, services ...; the generation is raised once`."""
    lines = [ServiceSuspension("sms", 300, 300), VOICE]
    world = with_line(opened, 1_000, *lines, suspend_below=400, resume_at=400)
    before = world.account.generation
    world.event(ask(asked=800))
    assert events(world) == [
        ("suspend", "account", ""),
        ("suspend", "service", "sms"),
        ("suspend", "service", "voice"),
    ]
    assert (world.account.generation, world.records[-1].generation) == (before + 1, before + 1)


def test_a_line_is_compared_in_the_call_that_sets_it(opened: Opened) -> None:
    world = with_line(opened, 100, VOICE)
    assert events(world) == [("suspend", "service", "voice")]
    assert world.records[-1].reauthorize == ["final", "all"]
    assert world.records[-1].generation == world.account.generation > 0


def test_a_line_that_is_moved_keeps_its_state_and_is_compared(opened: Opened) -> None:
    world = with_line(opened, 600, VOICE)
    world.event(ask(asked=200))
    since = world.account.services[0].suspended_ms
    assert since
    world.wait(5_000)
    world.settings(services=[ServiceSuspension("voice", 100, 500)])
    assert (events(world), world.account.services[0].suspended_ms) == ([], since)
    world.settings(services=[ServiceSuspension("voice", 100, 400)])
    assert (events(world), world.account.services[0].suspended_ms) == ([("resume", "service", "voice")], 0)


def test_a_line_that_is_taken_away_ends_with_resume(opened: Opened) -> None:
    """`Whatever the balance ...: then the account's own line counts`."""
    world = with_line(opened, 100, VOICE)
    world.settings(services=[])
    assert world.records[-1].threshold_events == [Crossing("resume", "service", "voice", 800, 100)]
    assert is_served(world, "voice")
    world.settings(services=[VOICE], suspend_below=0, resume_at=0)
    world.topup(900)
    world.settings(services=[])
    assert events(world) == []


def test_a_hold_never_crosses_it(opened: Opened) -> None:
    world = with_line(opened, 1_000, VOICE)
    world.start(ask(asked=900), service="voice")
    assert events(world) == []
    assert only(world.update(ask(asked=10, used=0), service="voice")).result == Result.OK


def test_low_balance_is_said_by_its_own_line(opened: Opened) -> None:
    world = with_line(opened, 1_000, VOICE, suspend_below=0, resume_at=0)
    assert not served(world, "voice").low
    world.event(ask(asked=250), service="data")
    assert served(world, "voice").low
    assert not served(world, "data").low


@pytest.mark.parametrize(
    "wrong",
    [
        [VOICE, VOICE],
        [ServiceSuspension(f"s{number}", 0, 0) for number in range(THRESHOLDS_MAX + 1)],
        [ServiceSuspension("voice", 1, 0)],
        [ServiceSuspension("voice", -EXACT_MAX - 1, 0)],
        [ServiceSuspension("voice", 0, EXACT_MAX + 1)],
    ],
    ids=["twice", "many", "restless", "small", "large"],
)
def test_what_cannot_be_compared_is_refused(opened: Opened, wrong: list[ServiceSuspension]) -> None:
    world = opened(1_000)
    assert world.settings(services=wrong) == "refused"
    assert world.account.services == []


def test_every_change_of_what_the_network_may_do_raises_the_generation(opened: Opened) -> None:
    """`Suspension or resumption, bar, close, another limit, service line or member`; its record carries it."""
    world = opened(1_000, suspend_below=0, resume_at=0, credit_limit=100)
    assert world.account.generation == 0
    changes: list[dict[str, Any]] = [
        {"set_state": SuspendReasons.BARRED},
        {"clear_state": SuspendReasons.BARRED},
        {"credit_limit": 50},
        {"credit_limit": 70},
        {"profile_rev": 7},
        {"services": [VOICE]},
        {"set_state": SuspendReasons.CLOSED},
    ]
    for number, change in enumerate(changes, start=1):
        world.settings(**change)
        assert (world.account.generation, world.records[-1].generation) == (number, number), change
    others: list[dict[str, Any]] = [{"credit_limit": 70}, {"profile_rev": 7}, {"thresholds": []}, {"suspend_below": -5}]
    for change in others:
        world.settings(**change)
        assert (world.account.generation, world.records[-1].generation) == (7, 0), change
