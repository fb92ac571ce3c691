"""charging.md section 8: sessions that their client runs by itself: which incarnation a report is of, what comes late,
what was authorised before."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from balances.structs.charge import Course, Flag, Outcome, Phase, Result
from balances.structs.session import SessionState
from tariffs.ladder import Ladder
from tests.balances.rules.account_harness import FLAT, START_MS, Counterparts, ask, ladder, money
from tests.balances.rules.conftest import Opened
from tests.balances.rules.test_cumulative import GIGABIT_S, shows, usages

PHASES = {Course.BEGINS: Phase.START, Course.GOES_ON: Phase.UPDATE, Course.ENDS: Phase.STOP}


class Nas:
    """One session name of a client; instants in seconds after the start of the world."""

    def __init__(
        self, world: Counterparts, session: str = "nas;7", *, recorded: bool = False, by: Ladder = FLAT
    ) -> None:
        self.world, self.session, self.recorded, self.by, self.packets = world, session, recorded, by, 0

    def send(
        self,
        course: Course,
        at_s: int,
        *shown: int,
        lasted_s: int = -1,
        token: str = "",
        late_s: int = 0,
        **others: Any,
    ) -> Outcome:
        """late_s: how long after its instant it arrives; a report with a time says when its session began"""
        world, event_ms = self.world, START_MS + at_s * 1_000
        world.now_ms = max(world.now_ms, event_ms + late_s * 1_000)
        wants = 100 if course is not Course.ENDS else -1
        one = shows(*shown, world=world, by=self.by, asked=wants, at_ms=event_ms, per_second=GIGABIT_S)
        began_ms = event_ms - lasted_s * 1_000 if lasted_s >= 0 else 0
        self.packets += 1
        fields: dict[str, Any] = {
            "event_ms": event_ms, "course": course, "began_ms": began_ms, "lasted_s": lasted_s, "token": token,
            "key": f"{course}:0:{self.packets}", "countable": False,
        } | others  # fmt: skip
        phase = Phase.RECORD if self.recorded else PHASES[course]
        return world.request(phase, [one], session=self.session, number=0, **fields)

    def start(self, at_s: int, **others: Any) -> Outcome:
        return self.send(Course.BEGINS, at_s, lasted_s=0, **others)

    def interim(self, at_s: int, *shown: int, **others: Any) -> Outcome:
        return self.send(Course.GOES_ON, at_s, *shown, **others)

    def stop(self, at_s: int, *shown: int, **others: Any) -> Outcome:
        return self.send(Course.ENDS, at_s, *shown, **others)

    @property
    def balance(self) -> int:
        return self.world.bucket().amount

    @property
    def incarnation(self) -> int:
        return self.world.session(self.session).incarnation

    @property
    def state(self) -> int:
        return self.world.session(self.session).state


def marks(world: Counterparts) -> Flag:
    return Flag(usages(world)[-1].flags)


def test_a_session_holds_while_it_runs_and_nothing_after(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.start(0)
    assert nas.world.money[1] == 100
    nas.interim(60, 40, lasted_s=60)
    assert (nas.balance, nas.world.money[1]) == (9_960, 100)
    nas.stop(90, 70, lasted_s=90)
    assert (nas.balance, nas.world.money[1], nas.state) == (9_930, 0, SessionState.CLOSED)


def test_a_session_id_reused_after_a_reboot_is_another_session(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.start(0)
    nas.interim(60, 500, lasted_s=60)
    nas.start(600)
    nas.interim(660, 30, lasted_s=60)
    assert (nas.balance, nas.incarnation, nas.state) == (9_470, 2, SessionState.OPEN)
    assert nas.world.money[1] == 100  # of the second one alone


@pytest.mark.parametrize("token", ["", "second"], ids=["recorded", "authorised"])
def test_a_session_that_begins_in_the_second_of_a_stop_is_another_one(opened: Opened, token: str) -> None:
    nas = Nas(opened(10_000), recorded=not token)
    first = {"token": "first"} if token else {}
    nas.start(0, **first)
    nas.stop(90, 500, lasted_s=90, **first)
    nas.start(90, token=token)
    nas.interim(190, 700, lasted_s=100, token=token)  # more than the one before ever showed
    assert (nas.balance, nas.incarnation, nas.state) == (8_800, 2, SessionState.OPEN)
    nas.stop(90, 510, lasted_s=90, late_s=100, **first)  # again, and more than before
    assert (nas.balance, nas.state) == (8_790, SessionState.OPEN)


def test_a_start_that_comes_late_does_not_open_what_has_ended(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.start(0, token="first")
    nas.stop(0, lasted_s=0, token="first")
    nas.start(0, token="first")
    assert (nas.incarnation, nas.state, nas.world.money[1]) == (1, SessionState.CLOSED, 0)


def test_the_last_report_of_the_session_before_is_charged_there(opened: Opened) -> None:
    """It was under way when the NAS rebooted, or its Stop was kept."""
    nas = Nas(opened(10_000))
    nas.start(0)
    nas.interim(60, 500, lasted_s=60)
    nas.start(600)
    nas.interim(660, 30, lasted_s=60)
    nas.stop(90, 520, lasted_s=90, late_s=600)
    assert (nas.balance, nas.state, nas.world.money[1]) == (9_450, SessionState.OPEN, 100)
    assert marks(nas.world) & Flag.LATE
    assert nas.world.records[-1].incarnation == 1
    nas.stop(90, 520, lasted_s=90, late_s=610)
    nas.interim(720, 45, lasted_s=120)
    assert (nas.balance, nas.incarnation) == (9_435, 2)


def test_a_start_that_was_lost_is_seen_by_a_time_that_fell(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.start(0)
    nas.interim(600, 500, lasted_s=600)
    nas.interim(900, 40, lasted_s=60)
    assert (nas.balance, nas.incarnation) == (9_460, 2)
    nas.stop(960, 60, lasted_s=120)
    assert nas.balance == 9_440


def test_another_reference_is_a_new_session_only_with_evidence(opened: Opened) -> None:
    """Wi-Fi: authenticated again inside the session, and the counters go on."""
    nas = Nas(opened(10_000))
    nas.start(0, token="a")
    nas.interim(600, 500, lasted_s=600, token="a")
    nas.interim(900, 700, lasted_s=900, token="b")
    assert (nas.balance, nas.incarnation) == (9_300, 1)
    assert marks(nas.world) & Flag.CLOCK
    nas.interim(1_200, 800, lasted_s=1_200, token="b")
    assert (nas.balance, marks(nas.world) & Flag.CLOCK) == (9_200, Flag(0))


@pytest.mark.parametrize("step_s", [-7_200, 7_200], ids=["back", "ahead"])
def test_a_clock_that_steps_is_no_new_session(opened: Opened, step_s: int) -> None:
    nas = Nas(opened(10_000))
    nas.start(10_000)
    nas.interim(10_600, 500, lasted_s=600)
    for lasted_s, shown in ((900, 600), (1_200, 700)):
        # Before the step the time began there, after it somewhere else.
        at_s = 10_000 + lasted_s + step_s
        nas.interim(at_s, shown, lasted_s=lasted_s, late_s=max(0, -step_s))
    assert (nas.balance, nas.incarnation) == (9_300, 1)
    nas.stop(10_000 + 1_300 + step_s, 710, lasted_s=1_300, late_s=max(0, -step_s))
    assert (nas.balance, nas.state) == (9_290, SessionState.CLOSED)


def test_a_step_of_the_clock_and_another_reference_at_once(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.start(0, token="a")
    nas.interim(600, 500, lasted_s=600, token="a")
    nas.interim(8_000, 600, lasted_s=700, token="b")
    assert (nas.balance, nas.incarnation) == (9_400, 1)


def test_a_start_again_while_counters_go_on_charges_nothing_twice(opened: Opened) -> None:
    """A controller that sends another Start at a re-authentication, and counts on."""
    nas = Nas(opened(10_000))
    nas.start(0)
    nas.interim(600, 500, lasted_s=600)
    nas.start(700)
    nas.interim(900, 700, lasted_s=900)
    assert nas.balance == 9_300
    nas.stop(1_000, 750, lasted_s=1_000)
    assert nas.balance == 9_250


@pytest.mark.parametrize("tokens", [("", ""), ("", "b"), ("a", "")], ids=["unknown", "known after", "known before"])
def test_ids_used_again_within_a_minute_of_a_restart(opened: Opened, tokens: tuple[str, str]) -> None:
    """Section 13: what began before an Accounting-On and what began after it are two, also of what comes late."""
    nas, (before, after) = Nas(opened(10_000), recorded=True), tokens
    nas.start(0, token=before)
    nas.interim(20, 300, lasted_s=20, token=before)
    nas.start(40, token=after, restarted_ms=START_MS + 40_000)  # in the second of the Accounting-On
    nas.interim(60, 50, lasted_s=20, token=after)
    assert (nas.balance, nas.incarnation) == (9_650, 2)
    nas.interim(30, 310, lasted_s=30, token=before, late_s=40, restarted_ms=START_MS + 40_000)
    assert (nas.balance, nas.incarnation) == (9_640, 2)
    nas.stop(130, 400, lasted_s=90, token=after)
    assert (nas.balance, nas.state) == (9_290, SessionState.CLOSED)


def test_a_restart_before_both_or_after_both_parts_nothing(opened: Opened) -> None:
    nas = Nas(opened(10_000), recorded=True)
    nas.start(0, restarted_ms=START_MS - 5_000)
    nas.interim(20, 300, lasted_s=15, restarted_ms=START_MS - 5_000)
    nas.interim(30, 310, lasted_s=30, late_s=10, restarted_ms=START_MS + 35_000)
    assert (nas.balance, nas.incarnation) == (9_690, 1)


def test_a_report_without_its_start_opens_the_session(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    outcome = nas.interim(60, 40, lasted_s=60)
    assert (outcome.result, nas.state, nas.balance, nas.world.money[1]) == (Result.OK, SessionState.OPEN, 9_960, 100)
    assert marks(nas.world) & Flag.UNMATCHED
    nas.start(0, late_s=61)  # it was overtaken
    nas.interim(120, 90, lasted_s=120)
    assert (nas.balance, nas.incarnation) == (9_910, 1)


def test_a_stop_without_its_start_is_charged_once(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.stop(60, 40, lasted_s=60)
    nas.stop(60, 40, lasted_s=60)
    nas.start(0, late_s=61)
    nas.interim(30, 20, lasted_s=30, late_s=31)
    assert (nas.balance, nas.state, nas.world.money[1]) == (9_960, SessionState.CLOSED, 0)


def test_what_came_after_the_stop_is_charged_as_far_as_it_shows_more(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.start(0)
    nas.stop(60, 40, lasted_s=60)
    outcome = nas.interim(70, 55, lasted_s=70)
    assert (nas.balance, nas.state, nas.world.money[1]) == (9_945, SessionState.CLOSED, 0)
    assert outcome.lines[0].granted == 0
    assert marks(nas.world) & Flag.LATE


def test_a_session_without_funds_goes_on_and_waits_for_money(opened: Opened) -> None:
    nas = Nas(opened(0))
    outcome = nas.start(0)
    assert (outcome.lines[0].result, nas.state) == (Result.CREDIT_LIMIT, SessionState.OPEN)
    nas.interim(60, 40, lasted_s=60)
    assert (nas.balance, nas.state) == (-40, SessionState.OPEN)
    assert nas.world.line(session=nas.session).final
    nas.world.topup(1_000)
    assert nas.interim(120, 50, lasted_s=120).lines[0].granted == 100


def test_what_was_authorised_before_holds_for_the_session_that_begins(opened: Opened) -> None:
    nas = Nas(opened(100))
    world = nas.world
    world.start(ask(asked=100, by=FLAT), session="port;1")
    assert world.money[1] == 100
    outcome = nas.start(1, adopts="port;1", token="a")
    assert (outcome.lines[0].granted, world.money[1]) == (100, 100)
    assert "port;1" not in world.twins.model.sessions["acc"]
    nas.stop(60, 100, lasted_s=60)
    assert (nas.balance, world.money[1]) == (0, 0)


def test_a_session_that_was_heard_of_before_leaves_the_hold_of_who_logged_in_since(opened: Opened) -> None:
    """`In the call that begins it, or with its first report where the Start was lost`, and in no other."""
    nas = Nas(opened(10_000))
    world = nas.world
    nas.start(0, adopts="port;1", token="a")
    world.start(ask(asked=50, by=FLAT), session="port;1")
    for at_s, send in ((60, nas.interim), (90, nas.stop), (80, nas.interim)):
        send(at_s, 40, lasted_s=at_s, adopts="port;1", token="a")
        assert world.session("port;1").lines[0].granted == 50
    assert (nas.balance, world.money[1]) == (9_960, 50)
    late = Nas(world, "nas;8")
    late.interim(120, 10, lasted_s=20, adopts="port;1", token="b")
    assert "port;1" not in world.twins.model.sessions["acc"]
    assert world.money[1] == 100


def test_a_client_that_only_accounts_holds_nothing(opened: Opened) -> None:
    nas = Nas(opened(100), recorded=True)
    nas.start(0)
    assert (nas.state, nas.world.money[1]) == (SessionState.OPEN, 0)
    nas.interim(60, 300, lasted_s=60)
    assert (nas.balance, nas.state, nas.world.money[1]) == (-200, SessionState.OPEN, 0)
    assert not marks(nas.world) & Flag.OVERRUN
    nas.stop(90, 310, lasted_s=90)
    nas.interim(80, 305, lasted_s=80, late_s=20)
    assert (nas.balance, nas.state) == (-210, SessionState.CLOSED)


def test_a_long_outage_does_not_make_its_use_implausible(opened: Opened) -> None:
    """The Start and all interims of an hour arrive together, when the store is back."""
    nas = Nas(opened(2**45))
    nas.start(0, late_s=3_600)
    nas.interim(3_600, 2**40, lasted_s=3_600)
    assert nas.balance == 2**45 - min(2**40, 3_600 * GIGABIT_S)


@pytest.mark.parametrize("seed", range(25))
def test_reports_in_any_order_of_two_incarnations_cost_what_their_last_counters_cost(opened: Opened, seed: int) -> None:
    """Lost, repeated, overtaken and late, of the session before the reboot too: charged is what was shown at most."""
    dice = Random(seed)
    nas = Nas(opened(10**9))
    shown = [0, 0]
    nas.start(0)
    for step in range(1, 6):
        nas.interim(step * 60, step * 100, lasted_s=step * 60)
        shown[0] = step * 100
    nas.start(10_000)
    late = [(step * 60, step * 100) for step in range(4, 9)]
    for _ in range(30):
        if dice.random() < 0.5:
            at_s, amount = dice.choice(late)
            nas.interim(at_s, amount, lasted_s=at_s, late_s=10_000)
            shown[0] = max(shown[0], amount)
        else:
            step = dice.randint(1, 20)
            nas.interim(10_000 + step * 60, step * 10, lasted_s=step * 60, late_s=dice.randint(0, 600))
            shown[1] = max(shown[1], step * 10)
    assert (10**9 - nas.balance, nas.incarnation) == (sum(shown), 2)


def test_a_packet_that_comes_again_gets_its_answer(opened: Opened) -> None:
    nas = Nas(opened(10_000))
    nas.start(0)
    nas.interim(60, 40, lasted_s=60)
    sent = nas.world.sent[-1]
    nas.start(600)
    again = nas.world.send(msgspec.structs.replace(sent, now_ms=START_MS + 601_000))
    assert (nas.world.status, again.cost, nas.balance) == ("ok", 0, 9_960)  # late, and nothing is left of it


# --- a client that goes on, whatever is answered


def test_a_session_that_gets_no_more_money_is_told_of(opened: Opened) -> None:
    """`depletion sends Disconnect or CoA`: its client does not stop by itself."""
    nas = Nas(opened(150))
    nas.start(0)
    assert nas.world.records[-1].reauthorize == []
    nas.interim(60, 150, lasted_s=60)
    assert nas.balance == 0
    assert nas.world.records[-1].reauthorize == ["depleted"]
    nas.interim(120, 160, lasted_s=120)
    assert nas.world.records[-1].reauthorize == ["depleted"], "each time it reports"
    nas.stop(180, 170, lasted_s=180)
    assert nas.world.records[-1].reauthorize == []


def test_the_rest_of_a_block_that_is_paid_lets_no_session_go_on_for_ever(opened: Opened) -> None:
    """It is granted with each report, beside a balance that is spent: the next block would be debt again."""
    nas = Nas(opened(150), by=ladder(money(100, block=100)))
    nas.start(0)
    nas.interim(60, 110, lasted_s=60)
    assert (nas.balance, nas.world.session(nas.session).lines[0].granted) == (-50, 90)
    assert nas.world.records[-1].reauthorize == ["depleted"]
    nas.interim(120, 220, lasted_s=120)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (-150, ["depleted"])


def test_the_last_block_that_money_pays_is_used_first(opened: Opened) -> None:
    nas = Nas(opened(250), by=ladder(money(100, block=100)))
    nas.start(0)
    nas.interim(60, 100, lasted_s=60)
    assert (nas.balance, nas.world.money[1]) == (150, 100)
    assert nas.world.session(nas.session).lines[0].final
    assert nas.world.records[-1].reauthorize == []


def test_a_suspended_one_is_told_of_too_and_with_money_again_it_is_not(opened: Opened) -> None:
    nas = Nas(opened(1_000))
    nas.start(0)
    nas.world.settings(suspend_below=2_000, resume_at=2_000)
    nas.interim(60, 10, lasted_s=60)
    assert "depleted" in nas.world.records[-1].reauthorize
    nas.world.topup(5_000)
    nas.interim(120, 20, lasted_s=120)
    assert nas.world.records[-1].reauthorize == []


def test_one_that_is_only_recorded_is_told_of_when_no_more_of_it_is_paid(opened: Opened) -> None:
    """`Where not, it waits for money`: whatever the account's lines of suspension are."""
    nas = Nas(opened(250), recorded=True, by=ladder(money(100, block=100)))
    nas.start(0)
    nas.interim(60, 40, lasted_s=60)
    assert (nas.balance, nas.world.money[1], nas.world.records[-1].reauthorize) == (150, 0, [])
    nas.interim(120, 110, lasted_s=120)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (50, ["depleted"]), "the rest of a block that is paid"
    nas.interim(180, 210, lasted_s=180)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (-50, ["depleted"])
    nas.world.topup(500)
    nas.interim(240, 220, lasted_s=240)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (450, [])
    nas.interim(300, 650, lasted_s=300)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (50, ["depleted"])
    nas.stop(360, 690, lasted_s=360)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (50, []), "one that has ended waits for nothing"


@pytest.mark.parametrize(("price", "told"), [(1, ["depleted"]), (0, [])], ids=["priced", "free"])
def test_one_that_is_only_recorded_begins_without_money_and_is_told_of_at_once(
    opened: Opened, price: int, told: list[str]
) -> None:
    nas = Nas(opened(0), recorded=True, by=ladder(money(price)))
    nas.start(0)
    assert (nas.state, nas.world.records[-1].reauthorize) == (SessionState.OPEN, told)


def test_a_credit_limit_lets_one_that_is_only_recorded_go_on(opened: Opened) -> None:
    nas = Nas(opened(0), recorded=True)
    nas.world.settings(credit_limit=100)
    nas.start(0)
    nas.interim(60, 90, lasted_s=60)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (-90, [])
    nas.interim(120, 100, lasted_s=120)
    assert (nas.balance, nas.world.records[-1].reauthorize) == (-100, ["depleted"])


def test_a_suspension_is_one_reason_for_one_that_is_only_recorded(opened: Opened) -> None:
    nas = Nas(opened(1_000), recorded=True)
    nas.start(0)
    nas.world.settings(suspend_below=2_000, resume_at=2_000)
    nas.interim(60, 10, lasted_s=60)
    assert "depleted" in nas.world.records[-1].reauthorize
    nas.world.topup(5_000)
    nas.interim(120, 20, lasted_s=120)
    assert nas.world.records[-1].reauthorize == []


@pytest.mark.parametrize("recorded", [False, True], ids=["granted", "recorded"])
def test_an_incarnation_that_began_without_its_start_may_end_too(opened: Opened, recorded: bool) -> None:
    nas = Nas(opened(10_000), recorded=recorded)
    nas.interim(600, 500, lasted_s=600)
    nas.start(1_200)
    nas.interim(1_260, 30, lasted_s=60)
    nas.interim(3_000, 20, lasted_s=50)
    nas.interim(3_060, 25, lasted_s=110)
    assert (nas.balance, nas.incarnation) == (10_000 - 500 - 30 - 25, 3)
