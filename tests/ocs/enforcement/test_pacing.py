"""A peer is told at its rate, whatever waits; nothing is told twice and nothing is left behind."""

from __future__ import annotations

from balances.ledger.intents import IntentId
from ocs.enforcement.job import Cause, NetworkAction, NetworkJob
from ocs.enforcement.machine import JobState
from ocs.enforcement.pacing import Pacing


def jobs(count: int, peer: str = "gw", due_ms: int = 1_000) -> dict[str, NetworkJob]:
    made = [
        NetworkJob(
            f"{peer}{n}", IntentId(0, 1, n), f"s{n}", 1, f"acc{n}", "s", "data", peer, Cause.WAITS,
            NetworkAction.REAUTHORIZE,
            0, 0, 0, 0, due_ms, due_ms,
        )
        for n in range(count)
    ]  # fmt: skip
    return {job.id: job for job in made}


def put(pacing: Pacing, waiting: dict[str, NetworkJob]) -> None:
    for job in waiting.values():
        pacing.put(job.peer, job)


def sent(pacing: Pacing, waiting: dict[str, NetworkJob], now_ms: int) -> list[str]:
    found = []
    for peer, job in pacing.ready(waiting, now_ms):
        pacing.left(peer)
        job.state = JobState.SENT
        found.append(job.id)
    return found


def test_a_thousand_at_one_instant_are_a_queue() -> None:
    pacing, waiting = Pacing(rate=100, window=1_000, total=1_000), jobs(1_000)
    put(pacing, waiting)
    told = list[str]()
    for now_ms in range(1_000, 12_000, 10):
        now = sent(pacing, waiting, now_ms)
        assert len(now) <= 10
        told += now
        assert pacing.late_ms(now_ms) in (0, now_ms - 1_000)
        wait_ms = pacing.wait_ms(now_ms)
        assert wait_ms is None or wait_ms <= 11
        if len(told) == 1_000:
            break
    assert told == list(waiting)
    assert now_ms < 11_100
    assert pacing.wait_ms(now_ms) is None


def test_what_is_due_later_is_not_late() -> None:
    pacing = Pacing(rate=1, window=1)
    assert pacing.late_ms(1_000) == 0
    put(pacing, jobs(1, due_ms=5_000))
    assert (pacing.late_ms(1_000), pacing.wait_ms(1_000)) == (0, 4_000)


def test_one_slow_peer_keeps_no_other() -> None:
    pacing, waiting = Pacing(rate=1_000, window=2), jobs(5, "slow") | jobs(2, "fast")
    put(pacing, waiting)
    assert sent(pacing, waiting, 1_000) == ["slow0", "slow1", "fast0", "fast1"]
    assert sent(pacing, waiting, 1_010) == []
    assert pacing.wait_ms(1_010) is None  # until one has landed
    pacing.landed("slow")
    assert sent(pacing, waiting, 1_020) == ["slow2"]


def test_of_all_peers_together_so_many_are_under_way() -> None:
    pacing, waiting = Pacing(rate=1_000, window=100, total=3), jobs(2, "a") | jobs(2, "b")
    put(pacing, waiting)
    assert len(sent(pacing, waiting, 1_000)) == 3
    pacing.landed("a")
    assert len(sent(pacing, waiting, 1_000)) == 1


def test_what_has_ended_or_was_put_off_is_passed_over() -> None:
    pacing, waiting = Pacing(rate=1_000, window=100), jobs(3)
    put(pacing, waiting)
    del waiting["gw0"]
    waiting["gw1"].due_ms = 5_000
    pacing.put("gw", waiting["gw1"])
    assert sent(pacing, waiting, 1_000) == ["gw2"]
    assert sent(pacing, waiting, 5_000) == ["gw1"]


def test_what_only_has_to_be_looked_at_needs_no_allowance() -> None:
    pacing, waiting = Pacing(rate=1, window=1), jobs(3)
    put(pacing, waiting)
    for job in waiting.values():
        job.state = JobState.ACKNOWLEDGED
    assert [job.id for _, job in pacing.ready(waiting, 1_000)] == list(waiting)
