"""Hints: which shards have new records, and which are urgent. They are published by the process that makes
the calls, beside them and never in them.

The keeper asks every two seconds whether the store has counted more records, and then looks at every shard
(ocs/keeper/news.py). So a hint may be lost, late or wrong: it saves looks, and no rule rests on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from balances import keys

NEWS_S: Final = 0.1
"""Hints are gathered for so long: one message for all calls of that time."""
WAKE_S: Final = 0.005
"""The same for what is urgent."""


class NewsTeller:
    """
    publish:  (channel, shards as one octet each); over the connection of the calls, so that it comes after them
    later:    calls back in so many seconds
    """

    def __init__(
        self, publish: Callable[[str, bytes], object], later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        self._publish, self._later = publish, later
        self._numbers: set[str] = set()
        self._waking = False

    def moved(self, number: str) -> None:
        """A call goes out to the shard of this number, as it stands in a tag."""
        numbers = self._numbers
        if not numbers:
            self._later(NEWS_S, self._tell)
        numbers.add(number)

    def wake(self) -> None:
        """A record was written that somebody acts on (Reply.urgent)."""
        if not self._waking:
            self._waking = True
            self._later(WAKE_S, self._wake)

    def _tell(self) -> None:
        if self._numbers:
            self._publish(keys.NEWS, self._taken())

    def _wake(self) -> None:
        self._waking = False
        self._publish(keys.NEWS_NOW, self._taken())

    def _taken(self) -> bytes:
        taken = bytes(sorted(map(int, self._numbers)))
        self._numbers.clear()
        return taken
