"""The audit: three amounts, found independently, must agree to the micro-unit for every account.

    due      what we reported, priced by ourselves (pricing.py)
    debited  what the settled balance fell by, as the account says before and after
    entered  what the ledger entries of that time add up to, as PostgreSQL has them

and nothing is held for sessions that are over, and the ledger has no gap and continues its own balances.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from loadtest.api import Api
from loadtest.pricing import micro, text
from loadtest.provision import in_parallel

LAG_S_MAX = 30.0
"""How long the ledger may be behind before the audit takes it as lost."""
NOTES_MAX = 20
PAGE = 1_000


class AuditState(NamedTuple):
    balance: int
    held: int
    seq: int


class AuditVerdict(NamedTuple):
    accounts: int
    due: int
    debited: int
    entered: int
    held: int
    entries: int
    faults: tuple[str, ...]
    """What is wrong, one sentence each; at most NOTES_MAX of them in words."""
    wrong: int
    """How many accounts something is wrong with."""
    doubtful: int
    """How many of them only because requests were never answered, and within what those may have cost."""
    lag_s: float

    @property
    def holds(self) -> bool:
        return not self.wrong


class Audit:
    """`before`, then the run, then `after`."""

    def __init__(self, api: Api, accounts: Sequence[str]) -> None:
        self._api, self._accounts = api, accounts
        self._before: list[AuditState] = []
        self._lag_s = 0.0

    async def before(self) -> None:
        self._before = await self._states()

    def balance_before(self, index: int) -> int:
        """Micro-units in account number `index` before the run."""
        return self._before[index].balance

    async def released(self, wait_s: float) -> bool:
        """Whether nothing is held any more within that time: what was authorised and never used lapses by itself."""
        end = time.monotonic() + wait_s
        while any(state.held for state in await self._states()):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(1.0)
        return True

    async def after(self, due: Sequence[int], left_open: dict[int, list[int]]) -> AuditVerdict:
        """`due`: micro-units by account; `left_open`: what could not be ended (runner.AuditDues)."""
        after = await self._states()
        faults: list[str] = []
        wrong = doubtful = entered_total = entries_total = 0
        entered: list[tuple[int, list[str]]] = [(0, [])] * len(after)
        started = time.monotonic()

        async def one(index: int) -> None:
            nonlocal entries_total
            amount, entries, notes = await self._entered(index, after[index], started)
            entered[index] = amount, notes
            entries_total += entries

        await in_parallel(one, range(len(self._accounts)))
        for index, name in enumerate(self._accounts):
            debited = self._before[index].balance - after[index].balance
            amount, notes = entered[index]
            entered_total += amount
            may = sum(left_open.get(index, []))
            if amount != debited:
                notes.append(f"the ledger has {text(amount)} entered, the balance fell by {text(debited)}")
            if not due[index] <= debited <= due[index] + may:
                notes.append(
                    f"due {text(due[index])}, debited {text(debited)}, off by {debited - due[index]} micro-units"
                )
            if after[index].held and index not in left_open:
                notes.append(f"{text(after[index].held)} held and no session open")
            in_doubt = index in left_open and not notes
            if in_doubt:
                notes.append(f"{len(left_open[index])} sessions not ended, up to {text(may)} in doubt")
            if notes:
                wrong, doubtful = wrong + 1, doubtful + in_doubt
                faults += [f"{name}: {note}" for note in notes]
        return AuditVerdict(
            accounts=len(self._accounts),
            due=sum(due),
            debited=sum(state.balance for state in self._before) - sum(state.balance for state in after),
            entered=entered_total,
            held=sum(state.held for state in after),
            entries=entries_total,
            faults=tuple(faults[:NOTES_MAX]),
            wrong=wrong,
            doubtful=doubtful,
            lag_s=self._lag_s,
        )

    async def _states(self) -> list[AuditState]:
        states: dict[int, AuditState] = {}

        async def one(index: int) -> None:
            body = await self._api.get("v1", "accounts", self._accounts[index])
            states[index] = AuditState(micro(body["balance"]), micro(body["held"]), int(body["seq"]))

        await in_parallel(one, range(len(self._accounts)))
        return [states[index] for index in range(len(self._accounts))]

    async def _entered(self, index: int, after: AuditState, started: float) -> tuple[int, int, list[str]]:
        """Micro-units the ledger took away since `before`, the number of entries, and what is odd about them."""
        seq, total, count = self._before[index].seq, 0, 0
        balances: dict[object, int] = {}
        notes: list[str] = []
        while seq < after.seq:
            page = await self._api.get("v1", "accounts", self._accounts[index], "ledger", after_seq=seq, limit=PAGE)
            if not page["items"]:
                self._lag_s = max(self._lag_s, time.monotonic() - started)
                if time.monotonic() - started > LAG_S_MAX:
                    notes.append(f"entries {seq + 1} to {after.seq} are not in the ledger after {LAG_S_MAX:g} s")
                    break
                await asyncio.sleep(0.1)
            for entry in page["items"]:
                notes += _oddities(entry, seq, balances)
                seq, count = int(entry["seq"]), count + 1
                if entry["kind"] == "money":
                    total -= micro(entry["amount"])
        return total, count, notes[:3]


def _oddities(entry: dict[str, Any], seq: int, balances: dict[object, int]) -> list[str]:
    """`balances`: of each bucket after the entry before, as far as they are known."""
    notes = []
    if entry["seq"] != seq + 1:
        notes.append(f"entry {entry['seq']} follows {seq}")
    after, bucket = micro(entry["balance_after"]), entry["bucket"]
    if bucket in balances and balances[bucket] + micro(entry["amount"]) != after:
        notes.append(f"entry {entry['seq']} leaves {entry['balance_after']} in bucket {bucket}, which does not follow")
    balances[bucket] = after
    return notes
