"""The machine of deliveries over random interleavings of events, answers, outages, restarts and time."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.events.webhooks.queue import (
    DOWN_AFTER,
    GIVEN_UP_MS,
    NEVER_MS,
    PASSED_AFTER,
    DeliveryQueue,
    QueuePace,
    Waiting,
)

PACE = QueuePace(order_ms=600_000, pause_ms=900_000)
ACCOUNTS = ("", "a", "b", "c")


def waiting(seq: int, account: str = "a") -> Waiting:
    return Waiting(seq, f"e{seq}", account, "account.suspended", b"{}", 0)


def a_queue(jitter: float = 1.0) -> DeliveryQueue:
    return DeliveryQueue(PACE, lambda: jitter)


class Walk:
    """A queue, a receiver and a clock, and what is true at every step."""

    def __init__(self) -> None:
        self.queue = a_queue()
        self.now_ms = 1_000_000
        self.made = 0
        self.open: dict[int, Waiting] = {}
        """Added and not over."""
        self.sent: dict[int, Waiting] = {}
        self.arrived: list[Waiting] = []
        self.dead: list[Waiting] = []
        self.refused: set[int] = set()
        """Events that the receiver never takes."""
        self.up = True

    def add(self, account: str, poison: bool) -> None:
        self.made += 1
        one = waiting(self.made, account)
        if poison:
            self.refused.add(one.seq)
        self.open[one.seq] = one
        self.queue.add(one)

    def take(self, room: int) -> None:
        down, before = self.queue.down, len(self.sent)
        for one in self.queue.take(self.now_ms, room):
            assert one.seq in self.open
            assert one.seq not in self.sent
            for other in self.open.values():
                if one.account and other.account == one.account:
                    assert other.seq not in self.sent, "two of one account under way"
                    if other.seq < one.seq:
                        assert other.attempts >= PASSED_AFTER, "passed too early"
                        assert self.now_ms - other.failed_ms >= PACE.order_ms
                        assert not down or other.answered, "passed while nobody answers"
            self.sent[one.seq] = one
        assert len(self.sent) - before <= room
        if down:
            assert len(self.sent) <= max(before, 1), "more than one probe"

    def answer(self, which: int) -> None:
        if not self.sent:
            return
        seq = sorted(self.sent)[which % len(self.sent)]
        one = self.sent.pop(seq)
        if self.up and seq not in self.refused:
            self.queue.delivered(one, self.now_ms)
            self.arrived.append(self.open.pop(seq))
            assert not self.queue.down
            assert self.queue.paused_for in ("", "person")
        elif self.queue.failed(one, self.now_ms, answered=self.up):
            assert self.now_ms - one.failed_ms >= GIVEN_UP_MS
            self.dead.append(self.open.pop(seq))

    def restart(self) -> None:
        """kill -9: what is under way is forgotten, the rows are as they were noted."""
        queue = DeliveryQueue(
            PACE,
            lambda: 1.0,
            failing_ms=self.queue.failing_ms if self.queue.down else 0,
            paused_for=self.queue.paused_for,
        )
        self.sent.clear()
        self.open = {seq: copy.copy(one) for seq, one in self.open.items()}
        for one in self.open.values():
            queue.add(one)
        self.queue = queue

    def check(self) -> None:
        assert len(self.queue) == len(self.open)
        assert self.queue.under_way == len(self.sent)

    def until_quiet(self) -> None:
        """Let time go on while the receiver takes everything: all arrives."""
        self.up, self.refused = True, set()
        for _ in range(20 * self.made + 100):
            self.take(8)
            while self.sent:
                self.answer(0)
            if not self.open:
                return
            wake_ms = self.queue.wake_ms()
            assert wake_ms < NEVER_MS, "nothing will ever wake it"
            self.now_ms = max(self.now_ms, wake_ms)
        raise AssertionError(f"{len(self.open)} never arrived")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(ACCOUNTS), st.integers(0, 9).map(lambda n: n == 0)),
        st.tuples(st.just("take"), st.integers(1, 8)),
        st.tuples(st.just("answer"), st.integers(0, 7)),
        st.tuples(st.just("wait"), st.sampled_from((100, 5_000, 70_000, 700_000, 30_000_000, GIVEN_UP_MS))),
        st.tuples(st.just("wake")),
        st.tuples(st.just("down")),
        st.tuples(st.just("up")),
        st.tuples(st.just("restart")),
    ),
    max_size=120,
)


@settings(max_examples=400)
@given(STEPS)
def test_nothing_is_lost_and_order_holds(steps: list[tuple[object, ...]]) -> None:
    walk = Walk()
    for step in steps:
        match step:
            case ("add", str(account), bool(poison)):
                walk.add(account, poison)
            case ("take", int(room)):
                walk.take(room)
            case ("answer", int(which)):
                walk.answer(which)
            case ("wait", int(ms)):
                walk.now_ms += ms
            case ("wake",):
                wake_ms = walk.queue.wake_ms()
                walk.now_ms = max(walk.now_ms, wake_ms if wake_ms < NEVER_MS else 0)
            case ("down",):
                walk.up = False
            case ("up",):
                walk.up = True
            case ("restart",):
                walk.restart()
        walk.check()
    walk.until_quiet()
    assert len(walk.arrived) + len(walk.dead) == walk.made
    assert len({one.event for one in walk.arrived}) == len(walk.arrived)


def test_what_wakes_it_finds_something() -> None:
    queue, now_ms = a_queue(), 0
    for seq in (1, 2, 3):
        queue.add(waiting(seq))
    for _ in range(2):
        [one] = queue.take(now_ms, 8)
        queue.failed(one, now_ms, answered=True)
        now_ms = queue.wake_ms()
        assert one.next_ms == now_ms
    assert [one.seq for one in queue.take(now_ms, 8)] == [1]


def test_a_refused_event_is_passed_after_a_while_and_given_up_after_three_days() -> None:
    """The receiver takes those of other accounts meanwhile, so that it is not down."""
    queue, now_ms, seq, arrived = a_queue(), 1, 2, []
    queue.add(waiting(1, "a"))
    queue.add(waiting(2, "a"))
    over = False
    for _ in range(2_000):
        seq += 1
        queue.add(waiting(seq, f"b{seq}"))
        for one in queue.take(now_ms, 8):
            if one.seq == 1:
                over = over or queue.failed(one, now_ms, answered=True)
            else:
                queue.delivered(one, now_ms)
                arrived.append((one.seq, now_ms))
        now_ms += 200_000
        if over:
            break
    assert over
    assert now_ms >= GIVEN_UP_MS
    [passed_ms] = [at_ms for seq, at_ms in arrived if seq == 2]
    assert passed_ms - 1 >= PACE.order_ms


def test_a_receiver_that_does_not_answer_gets_nothing_out_of_order() -> None:
    queue, now_ms = a_queue(), 1
    for seq in range(1, 10):
        queue.add(waiting(seq, "a"))
    while now_ms < 10 * PACE.order_ms:
        found = queue.take(now_ms, 8)
        assert [one.seq for one in found] == [1]
        queue.failed(found[0], now_ms, answered=False)
        now_ms = queue.wake_ms()
    assert queue.paused_for == "failing"
    order = []
    now_ms = queue.wake_ms()
    while found := queue.take(now_ms, 8):
        order += [one.seq for one in found]
        for one in found:
            queue.delivered(one, now_ms)
    assert order == list(range(1, 10))
    assert len(queue) == 0
    assert not queue.down


def test_the_only_account_with_a_refused_event_is_not_stuck() -> None:
    queue, now_ms, arrived = a_queue(), 1, []
    for seq in range(1, 6):
        queue.add(waiting(seq, "a"))
    for _ in range(100):
        for one in queue.take(now_ms, 8):
            if one.seq == 1:
                queue.failed(one, now_ms, answered=True)
            else:
                queue.delivered(one, now_ms)
                arrived.append(one.seq)
        now_ms = max(queue.wake_ms(), now_ms)
        if len(arrived) == 4:
            break
    assert arrived == [2, 3, 4, 5]
    assert now_ms >= PACE.order_ms


def test_several_that_were_under_way_are_one_step_of_the_probes() -> None:
    queue = a_queue()
    for seq in range(1, 9):
        queue.add(waiting(seq, f"a{seq}"))
    for one in queue.take(1, 8):
        queue.failed(one, 1, answered=False)
    assert queue.failures == 8 > DOWN_AFTER
    assert queue.wake_ms() == 2_001


def test_retry_after_is_kept() -> None:
    queue = a_queue()
    queue.add(waiting(1, "a"))
    queue.add(waiting(2, "b"))
    one, other = queue.take(1, 8)
    queue.failed(one, 1, answered=True, quiet_ms=90_000)
    assert queue.take(90_000, 8) == []
    assert queue.wake_ms() == 90_001
    queue.delivered(other, 2)
    assert queue.take(90_001, 8) == [one]


def test_gone_is_for_a_person() -> None:
    queue = a_queue()
    queue.add(waiting(1, "a"))
    [one] = queue.take(1, 8)
    queue.failed(one, 1, answered=True, gone=True)
    assert queue.paused_for == "gone"
    assert queue.take(NEVER_MS - 1, 8) == []
    assert queue.wake_ms() == NEVER_MS


def test_refused_events_make_room() -> None:
    """They are dead letters before they keep others from coming in; those that were not tried never are."""
    queue = a_queue()
    for seq in range(1, 21):
        queue.add(waiting(seq, f"a{seq}"))
    now_ms = 1
    for _ in range(PASSED_AFTER):
        for one in queue.take(now_ms, 8):
            queue.failed(one, now_ms, answered=True)
            queue.add(waiting(1_000 + now_ms, "ok"))
            for fine in queue.take(now_ms, 8):
                if fine.account == "ok":
                    queue.delivered(fine, now_ms)
                else:
                    queue.failed(fine, now_ms, answered=True)
        now_ms += 700_000
    queue.failures = 0
    tried = {one.seq for rows in [queue] for one in rows.crowding(now_ms + PACE.order_ms, 4)}
    assert tried <= set(range(1, 21))
    assert len(queue) >= 4
