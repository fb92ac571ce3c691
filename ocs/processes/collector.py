"""When a serving process collects garbage: young objects as they come, all objects when nobody waits.

A collection of all objects stops the process for as long as it looks at what is remembered of sessions: 80 to 150 ms
where those are a thousand. Reference counts free nearly everything here, so what it would find can wait.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

YOUNG: Final = 1_000
"""Allocated and not freed before the youngest are looked at."""
YOUNG_OF_BATCH: Final = 500_000
"""The same in a process that works by the batch, where nobody waits: what a batch needs stays until its end and then
goes by itself. The largest of the keeper's own, 8,192 records, is some 200,000 objects. To look at those in between,
as with 50,000, took a fifth of its time; two batches that did not go by themselves are found."""
OLDER: Final = 10
"""How often that is before the next older ones are looked at."""
NEVER: Final = 2**31 - 1
PASSES: Final = 10
"""Of the younger ones before a collection of all is due."""
QUIET_S: Final = 10.0
"""Between two, of one that serves nothing but works."""
BUSY_S: Final = 600.0
"""A process that is never quiet collects so often all the same."""


class Collector:
    """`look` is called at each beat.

    served:  how many requests were served so far
    young:   allocated and not freed before the youngest are looked at
    """

    def __init__(self, served: Callable[[], int], now_s: Callable[[], float], young: int = YOUNG) -> None:
        self._served, self._now_s, self._young = served, now_s, young
        self._served_before, self._passes_before, self._all_s = -1, 0, now_s()

    def start(self) -> None:
        """What is there when a process begins to serve stays, and is not looked at again."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(self._young, OLDER, NEVER)
        self._note()

    def look(self) -> None:
        served = self._served()
        quiet, self._served_before = served == self._served_before, served
        if _passes() - self._passes_before < PASSES:
            return
        if self._now_s() - self._all_s >= (QUIET_S if quiet else BUSY_S):
            gc.collect()
            self._note()

    def _note(self) -> None:
        self._passes_before, self._all_s = _passes(), self._now_s()


def _passes() -> int:
    return int(gc.get_stats()[1]["collections"])
