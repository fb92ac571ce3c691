"""When garbage is collected: not while requests come, unless they never stop coming."""

from types import SimpleNamespace

import pytest

from ocs.processes import collector
from ocs.processes.collector import BUSY_S, PASSES, QUIET_S, Collector


class FakeProcess:
    """A process whose objects we count, its clock and its requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.passes, self.served, self.now_s = 5, 0, 100.0
        fake = SimpleNamespace(
            collect=lambda: self.done.append("collect"),
            freeze=lambda: self.done.append("freeze"),
            set_threshold=lambda *_: None,
            get_stats=lambda: [{}, {"collections": self.passes}, {}],
        )
        monkeypatch.setattr(collector, "gc", fake)
        self.it = Collector(lambda: self.served, lambda: self.now_s)
        self.it.start()
        assert self.done == ["collect", "freeze"]
        self.done.clear()

    def beat(self, *, served: int, passes: int = 0) -> int:
        """How often all was collected at it."""
        self.served += served
        self.passes += passes
        self.now_s += 0.5
        self.done.clear()
        self.it.look()
        return len(self.done)


def test_not_while_requests_come(monkeypatch: pytest.MonkeyPatch) -> None:
    process = FakeProcess(monkeypatch)
    assert sum(process.beat(served=500, passes=PASSES) for _ in range(40)) == 0
    assert process.beat(served=0) == 1
    assert sum(process.beat(served=0) for _ in range(100)) == 0, "there is nothing new"
    assert process.beat(served=0, passes=PASSES - 1) == 0
    assert process.beat(served=0, passes=1) == 1
    assert sum(process.beat(served=0, passes=PASSES) for _ in range(2 * int(QUIET_S / 0.5))) == 2


def test_of_a_process_that_is_never_quiet_now_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    process = FakeProcess(monkeypatch)
    beats = 2 * int(BUSY_S / 0.5)
    assert sum(process.beat(served=500, passes=1) for _ in range(beats)) == 2
