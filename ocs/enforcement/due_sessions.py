"""Which sessions are told of what time alone changed: a grade at its instant, an assignment that began or ended.

A session of Diameter comes back by itself: no grant is valid beyond the end of its price (charging.md section 6). It is
asked only where it holds a grant from before somebody set that end. A client of RADIUS is told its speed once, when it
asks: it is told anew where the grade is another one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from balances.structs.account import Account
from balances.structs.session import Session
from ocs.enforcement.due_kinds import DueKind, due_kinds
from ocs.enforcement.job import is_radius
from ocs.enforcement.session_grades import SessionGrades

ROUNDED_MS: Final = 2_000
"""A Validity-Time is in whole seconds, and clocks differ."""
AUTHORISED_MS: Final = 60_000
"""So long before its Start a session may have been authorised, and told its speed (charging.md section 8)."""


def comes_back(session: Session, at_ms: int) -> bool:
    """Whether what it held before an instant was valid no longer than until then: a hold lapses at twice its
    Validity-Time (charging.md section 5)."""
    return not any(
        line.due_ms and line.touched_ms < at_ms and (line.touched_ms + line.due_ms) // 2 > at_ms + ROUNDED_MS
        for line in session.lines
    )


class DueSessions:
    def __init__(self, grades: SessionGrades) -> None:
        self._grades = grades

    async def of(self, account: Account, sessions: Sequence[Session], kinds: Collection[str]) -> Collection[str]:
        """Ids of those that are told, for these kinds of intents. Money that comes in may change a grade too."""
        dues = list(due_kinds(kinds))
        paid = await self._grades.regraded(account, _of_radius(sessions)) if "final" in kinds else set()
        if not dues:
            return paid
        asked, graded = set(), []
        since: dict[str, int] = {}
        for session in sessions:
            mine = [one for one in dues if one.subscriber in ("", session.subscriber)]
            if not mine:
                continue
            since[session.id] = since_ms = min(one.since_ms for one in mine)
            if is_radius(session.peer):
                graded.append(session)
            elif not comes_back(session, since_ms):
                if any(one.subscriber for one in mine):
                    asked.add(session.id)
                else:
                    graded.append(session)

        def told_ms(session: Session) -> int:
            """What was so then is what its client was told last."""
            return max(since[session.id] - 1, session.opened_ms - AUTHORISED_MS)

        return paid | asked | await self._grades.changed(account, graded, told_ms)


def _of_radius(sessions: Sequence[Session]) -> list[Session]:
    return [one for one in sessions if is_radius(one.peer)]


async def none_due(_account: Account, _sessions: Sequence[Session], _kinds: Collection[str]) -> Collection[str]:
    """Where nothing is due by time."""
    return ()


def kind_again(crossed_ms: int) -> str:
    """What makes a look find again that a grade changed."""
    return str(DueKind(crossed_ms))
