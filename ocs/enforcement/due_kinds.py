"""Kinds of the intents that time alone makes: what changed, whose, and when. Pure.

`graded <ms>`: a grade of a tariff may have changed then, or since; `assigned <ms> <subscriber>`: a tariff of this
subscriber began or ended. They stand beside the kinds of balances/ledger/intents.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

GRADED: Final = "graded"
ASSIGNED: Final = "assigned"


class DueKind(NamedTuple):
    since_ms: int
    """What was told before this instant is what the session still goes by."""
    subscriber: str = ""
    """Whose assignment it was; "": a grade, of any."""

    def __str__(self) -> str:
        return f"{ASSIGNED} {self.since_ms} {self.subscriber}" if self.subscriber else f"{GRADED} {self.since_ms}"


def due_kinds(kinds: Collection[str]) -> Iterator[DueKind]:
    """Those among the kinds of an intent that are of time."""
    for kind in kinds:
        word, _, rest = kind.partition(" ")
        if word == GRADED:
            yield DueKind(int(rest))
        elif word == ASSIGNED:
            at_ms, _, subscriber = rest.partition(" ")
            yield DueKind(int(at_ms), subscriber)
