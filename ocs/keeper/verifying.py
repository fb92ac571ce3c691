"""The proof that nothing was lost, without anybody asking for it: a few accounts all the time, all of them once a day.

What is found is an event and an alarm, and counts as `ocs_invariant_violations_total`. What the last whole proof came
to stands in table `verifications`, and is a metric.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from balances.ledger import verify as proof
from balances.ledger.reader import Client
from balances.ledger.sampling import Sampler
from balances.ledger.verify import LedgerFinding
from balances.ledger.writer import Pool
from ocs.events.unsound import in_a_line, tell_unsound
from ocs.stores import verifications

LEASE: Final = "verify"
SAMPLED_S: Final = 10.0
"""Between two looks at a few accounts."""
DAILY_S: Final = 30.0
"""Between two looks at the clock."""
KNOWN_MAX: Final = 1_000
"""Findings that are remembered, so that each is told once."""


class Verifying:
    """
    mine:    whether this keeper does it now
    copied:  whether PostgreSQL is known to have all that the live store has
    counted: how many records were copied so far: where none were, nothing is looked at again
    rate:    accounts a second; 0: none
    at:      "03:30" in UTC, when all is proved; "": never
    """

    def __init__(
        self,
        redis: Client,
        pool: Any,
        patient: Pool,
        *,
        now_ms: Callable[[], int],
        mine: Callable[[], bool],
        copied: Callable[[], bool],
        counted: Callable[[], int],
        alarm: Callable[[str], None],
        rate: int,
        at: str,
    ) -> None:
        self._redis, self._pool, self._patient = redis, pool, patient
        self._now_ms, self._mine, self._copied, self._counted = now_ms, mine, copied, counted
        self._alarm, self._rate, self._at = alarm, rate, at
        self._sampler = Sampler(redis, pool)
        self._began_ms = now_ms()
        self._quiet_since = -1
        """Records that were copied when the last round without a change began."""
        self._round = (0, -1)
        self._known: dict[LedgerFinding, None] = {}
        self.sampled = 0
        """Accounts."""
        self.found: dict[str, int] = {"sample": 0, "verify": 0}
        """Findings, by the proof."""
        self.ended_ms = 0
        """When the last whole proof ended; 0: there was none."""
        self.findings = 0
        """Of it."""

    async def sample(self) -> None:
        """Compare a few accounts; where nothing was written since they all were compared, none."""
        counted = self._counted()
        if not self._rate or not self._mine() or counted == self._quiet_since:
            return
        rounds, began = self._round
        report = await self._sampler.step(self._rate * int(SAMPLED_S), self._now_ms(), copied=self._copied())
        self.sampled += report.accounts
        if self._sampler.rounds > rounds:
            self._quiet_since = counted if began == counted else -1
            self._round = (self._sampler.rounds, counted)
        await self._tell("sample", report.findings)

    async def daily(self) -> None:
        """Prove everything, once a day, whichever keeper and however often it was started again."""
        last = await verifications.last(self._pool)
        if last is not None:
            self.ended_ms, self.findings = last.ended_ms, last.findings
        if not self._at or not self._mine() or not self._is_due(last.began_ms if last is not None else 0):
            return
        began_ms = self._now_ms()
        report = await proof.verify(self._redis, self._patient)
        ended_ms = self._now_ms()
        await verifications.note(self._pool, began_ms, ended_ms, "keeper", report, in_a_line(report.findings))
        self.ended_ms, self.findings = ended_ms, len(report.findings)
        await self._tell("verify", report.findings)

    def _is_due(self, last_ms: int) -> bool:
        """Whether the time of day came since the last proof, or since this process began where there was none."""
        now = datetime.fromtimestamp(self._now_ms() / 1_000, UTC)
        hour, minute = map(int, self._at.split(":"))
        due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if due > now:
            due -= timedelta(days=1)
        return max(last_ms, 0 if last_ms else self._began_ms) < due.timestamp() * 1_000

    async def _tell(self, name: str, findings: list[LedgerFinding]) -> None:
        new = [one for one in findings if one not in self._known]
        if not new:
            return
        self.found[name] += len(new)
        self._known |= dict.fromkeys(new)
        while len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._alarm(f"the books do not agree ({name}): {in_a_line(new)}")
        await tell_unsound(self._pool, name, new, self._now_ms())
