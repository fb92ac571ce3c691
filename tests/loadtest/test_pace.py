"""The planned instants do not depend on what the server does."""

import asyncio
import itertools
import random
import signal
import time

import pytest

from loadtest.pace import Pacer, plan


def test_equal_gaps() -> None:
    assert list(itertools.islice(plan(4, "fixed", random.Random(1)), 5)) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_poisson_has_the_rate_and_the_spread() -> None:
    instants = list(itertools.islice(plan(100, "poisson", random.Random(1)), 20_001))
    gaps = [after - before for before, after in itertools.pairwise(instants)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.03)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(0.01**2, rel=0.1)


async def test_a_signal_that_comes_after_the_end_ends_nothing() -> None:
    """With several threads it may be on its way to another one when the timer is stopped."""
    pacer = Pacer(plan(100, "fixed", random.Random(1)), lambda _: True)
    pacer.start()
    pacer.stop()
    assert signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, None)


async def test_what_could_not_be_sent_keeps_its_instant() -> None:
    """A second of "no" must show as latency of up to a second, not as requests never planned."""
    sent: list[tuple[int, int]] = []
    open_at = time.monotonic_ns() + 200_000_000

    def fire(planned_ns: int) -> bool:
        now = time.monotonic_ns()
        if now < open_at:
            return False
        sent.append((planned_ns, now))
        return True

    pacer = Pacer(plan(100, "fixed", random.Random(1)), fire)
    pacer.start()
    await asyncio.sleep(0.4)
    pacer.stop()
    assert len(sent) >= 30
    gaps = {after[0] - before[0] for before, after in itertools.pairwise(sent)}
    assert max(gaps) <= 10_000_001
    assert sent[0][1] - sent[0][0] >= 190_000_000
