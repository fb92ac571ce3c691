"""What one webhook has to deliver, and when: the machine of its deliveries. Pure: time and chance are arguments.

- **Order.** Of one account one delivery is under way, and later ones wait while an earlier one is tried. They pass
  one that has failed `PASSED_AFTER` times and for `order_ms` since its first failure. Events of no account have no
  order.
- **Back-off.** A delivery that failed is tried again after `BACK_OFF_S`, shortened or lengthened at random, and is
  a dead letter when it fails `GIVEN_UP_MS` after its first failure.
- **A receiver that is down.** After `DOWN_AFTER` failures in a row, whichever they were, one delivery at a time is
  tried, at a pace of its own: of the deliveries at the head of their accounts the one tried least, so that no
  single one looks like a receiver that is down. One is passed meanwhile only if it was answered: while nobody
  answers, none arrives before another. The first success ends it, and all that waits is due at once, in order.
- **Paused.** When the receiver has been down for `pause_ms` the webhook is paused: an alarm, and probes go on, more
  seldom. Nothing becomes a dead letter meanwhile. Paused for good (by a person, or 410) nothing is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

from msgspec import Struct

PASSED_AFTER: Final = 3
DOWN_AFTER: Final = 3
BACK_OFF_S: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600)
"""The last one again and again."""
GIVEN_UP_MS: Final = 3 * 86_400_000
PROBE_S_MAX: Final = 60
PAUSED_PROBE_S_MAX: Final = 900
NEVER_MS: Final = 2**62

PausedFor = Literal["", "person", "failing", "gone"]
"""Not paused; by a person; because it fails, and probes go on; it answered 410 and wants no more."""


class Waiting(Struct):
    """A delivery that has not arrived yet. Times in Unix milliseconds; 0: not yet."""

    seq: int
    """Place in the order of its webhook."""
    event: str
    account: str
    type: str
    body: bytes
    made_ms: int
    attempts: int = 0
    failed_ms: int = 0
    """Of the first failure."""
    next_ms: int = 0
    answered: bool = False
    """Its last attempt had an answer, which was not 2xx."""


class QueuePace(Struct, frozen=True):
    """order_ms: how long a failing delivery holds up the later ones of its account; pause_ms: how long a receiver
    may be down before the webhook is paused."""

    order_ms: int = 600_000
    pause_ms: int = 900_000


class DeliveryQueue:
    """
    jitter:      a factor around 1, new at each call
    failing_ms:  since when the receiver is down, 0: it is not
    """

    def __init__(
        self, pace: QueuePace, jitter: Callable[[], float], *, failing_ms: int = 0, paused_for: PausedFor = ""
    ) -> None:
        self._pace, self._jitter = pace, jitter
        self._by_account: dict[str, dict[int, Waiting]] = {}
        self._under_way: dict[str, Waiting] = {}
        self._count = 0
        self.paused_for: PausedFor = paused_for
        self.failures = DOWN_AFTER if failing_ms else 0
        """In a row."""
        self.failing_ms = failing_ms
        """First of them."""
        self._probes = 0
        self._probe_ms = 0
        self._probing: Waiting | None = None
        self._quiet_ms = 0
        """Until then nothing is tried: the receiver asked for it (Retry-After)."""

    def __len__(self) -> int:
        return self._count

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    @property
    def down(self) -> bool:
        return self.failures >= DOWN_AFTER

    def oldest_ms(self) -> int:
        """When the oldest delivery that waits was made, 0 when none does."""
        return min((next(iter(rows.values())).made_ms for rows in self._by_account.values()), default=0)

    def add(self, one: Waiting) -> None:
        """Deliveries are added in the order of their places, and one that is sent again in the place it had."""
        rows = self._by_account.setdefault(_lane(one), {})
        if one.seq in rows:
            return
        late = bool(rows) and one.seq < next(reversed(rows))
        rows[one.seq] = one
        self._count += 1
        if late:
            self._by_account[_lane(one)] = dict(sorted(rows.items()))

    def take(self, now_ms: int, room: int) -> list[Waiting]:
        """Deliveries to be tried now, at most `room`; they are under way until `delivered` or `failed` is called."""
        if self.paused_for not in ("", "failing") or now_ms < self._quiet_ms or room <= 0:
            return []
        if self.down:
            probe = self._probe(now_ms) if now_ms >= self._probe_ms and not self._under_way else None
            self._probing = probe
            found = [probe] if probe else []
        else:
            due = (self._due(rows, now_ms) for lane, rows in self._by_account.items() if lane not in self._under_way)
            found = sorted((one for one in due if one is not None), key=lambda one: one.seq)[:room]
        for one in found:
            self._under_way[_lane(one)] = one
        return found

    def wake_ms(self) -> int:
        """When `take` may find something next, nothing being added or answered before; NEVER_MS: not by time alone."""
        if self.paused_for not in ("", "failing") or not self._count:
            return NEVER_MS
        if self.down:
            return NEVER_MS if self._under_way else max(self._probe_ms, self._quiet_ms)
        soonest = min(
            (
                at_ms
                for lane, rows in self._by_account.items()
                if lane not in self._under_way
                for at_ms, _ in self._reachable(rows)
            ),
            default=NEVER_MS,
        )
        return max(soonest, self._quiet_ms) if soonest < NEVER_MS else NEVER_MS

    def delivered(self, one: Waiting, now_ms: int) -> bool:
        """It has arrived. Returns whether the receiver was down until now."""
        self._under_way.pop(_lane(one), None)
        self._forget(one)
        was_down = self.down
        self.failures, self.failing_ms, self._probes, self._quiet_ms = 0, 0, 0, 0
        if self.paused_for == "failing":
            self.paused_for = ""
        if was_down:
            for rows in self._by_account.values():
                for other in rows.values():
                    other.next_ms = min(other.next_ms, now_ms)
        return was_down

    def failed(self, one: Waiting, now_ms: int, *, answered: bool, gone: bool = False, quiet_ms: int = 0) -> bool:
        """It has not arrived. quiet_ms: for how long the receiver wants nothing. Returns whether it is a dead
        letter now."""
        self._under_way.pop(_lane(one), None)
        one.attempts += 1
        one.failed_ms = one.failed_ms or now_ms
        one.answered = answered
        back_off_s = BACK_OFF_S[min(one.attempts, len(BACK_OFF_S)) - 1]
        one.next_ms = now_ms + int(back_off_s * 1_000 * self._jitter())
        self._quiet_ms = max(self._quiet_ms, now_ms + quiet_ms)
        self.failures += 1
        self.failing_ms = self.failing_ms or now_ms
        if self.down:
            if not self.paused_for and now_ms - self.failing_ms >= self._pace.pause_ms:
                self.paused_for = "failing"
            if one is self._probing or not self._probes:  # not those that were under way when it went down
                most_s = PAUSED_PROBE_S_MAX if self.paused_for else PROBE_S_MAX
                self._probes += 1
                self._probe_ms = now_ms + int(min(1 << min(self._probes, 20), most_s) * 1_000 * self._jitter())
        if gone:
            self.paused_for = "gone"
        if not self.paused_for and now_ms - one.failed_ms >= GIVEN_UP_MS:
            self._forget(one)
            return True
        return False

    def crowding(self, now_ms: int, most: int) -> list[Waiting]:
        """Take out deliveries that others pass, where more than `most` of them wait: the receiver refuses them and
        takes others, and they must not keep those from coming in."""
        if self.down or self.paused_for or self._count <= most:
            return []
        passed = [one for rows in self._by_account.values() for one in rows.values() if self._passed_ms(one) <= now_ms]
        passed = [one for one in passed if self._under_way.get(_lane(one)) is not one]
        found = sorted(passed, key=lambda one: one.seq)[: max(len(passed) - most, 0)]
        for one in found:
            self._forget(one)
        return found

    # ---- inside

    def _passed_ms(self, one: Waiting) -> int:
        """From when on later deliveries of its account may pass it."""
        return one.failed_ms + self._pace.order_ms if one.attempts >= PASSED_AFTER else NEVER_MS

    def _reachable(self, rows: dict[int, Waiting]) -> Iterator[tuple[int, Waiting]]:
        """Deliveries of an account in order, with the instant at which each may be tried."""
        passed_ms = 0
        for one in rows.values():
            yield max(passed_ms, one.next_ms), one
            passed_ms = max(passed_ms, self._passed_ms(one))
            if passed_ms >= NEVER_MS:
                return

    def _due(self, rows: dict[int, Waiting], now_ms: int) -> Waiting | None:
        return next((one for at_ms, one in self._reachable(rows) if at_ms <= now_ms), None)

    def _probe(self, now_ms: int) -> Waiting | None:
        """Whichever shows best whether the receiver takes anything: tried least, then oldest. When it was to be
        tried by its own back-off does not count."""
        found: list[tuple[int, int, Waiting]] = []
        for rows in self._by_account.values():
            for one in rows.values():
                found.append((one.attempts, one.seq, one))
                if not one.answered or self._passed_ms(one) > now_ms:
                    break
        return min(found)[2] if found else None

    def _forget(self, one: Waiting) -> None:
        rows = self._by_account.get(_lane(one), {})
        if rows.pop(one.seq, None) is not None:
            self._count -= 1
        if not rows:
            self._by_account.pop(_lane(one), None)


def _lane(one: Waiting) -> str:
    """What is delivered one after the other: an account, or an event of none."""
    return one.account or f"\0{one.seq}"
