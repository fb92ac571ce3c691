"""The cheap part of the proof, all the time: a few accounts after the other are compared between the stores, beside
traffic (docs/durability.md). `verify` proves everything; this finds a fault within a round over all accounts.

Of each account: its newest entries continue each other and end where its head says; the live store has the same
balances at the same entry; what it holds is what its sessions hold; PostgreSQL comes to have what the live store has.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.quarantine import held
from balances.ledger.reader import Client
from balances.ledger.record import fit
from balances.ledger.verify import VerifyReport, check_holds, read_accounts
from balances.ledger.writer import RECOVERED, Pool

ENTRIES: Final = 32
"""The newest of an account, which are compared with each other."""
FIELDS_MAX: Final = 500
"""Of an account's hash; one with more sessions is left to `verify`, so that no request waits for the reading."""
PATIENCE_MS: Final = 60_000
"""How long an entry may be on its way to PostgreSQL."""

_AFTERS: Final = msgspec.json.Decoder(dict[int, int])
_HEADS: Final = """
SELECT h.account, h.seq, h.afters::text, t.seqs, t.buckets, t.amounts, t.afters, t.whys
  FROM account_heads h
 CROSS JOIN LATERAL (
    SELECT array_agg(seq ORDER BY seq) AS seqs, array_agg(bucket ORDER BY seq) AS buckets,
           array_agg(amount ORDER BY seq) AS amounts, array_agg(after ORDER BY seq) AS afters,
           array_agg(why ORDER BY seq) AS whys
      FROM (SELECT seq, bucket, amount, after, why FROM ledger_entries e WHERE e.account = h.account
             ORDER BY seq DESC LIMIT $2) newest) t
 WHERE h.account = ANY($1::text[])
"""


class AwaitedEntry(NamedTuple):
    """An entry that the live store has and PostgreSQL did not have."""

    seq: int
    since_ms: int


class Sampler:
    """Goes round over all accounts that PostgreSQL knows."""

    def __init__(self, redis: Client, pool: Pool) -> None:
        self._redis, self._pool = redis, pool
        self._last = ""
        self._awaited: dict[str, AwaitedEntry] = {}
        self.rounds = 0
        """Over all accounts."""

    async def step(self, count: int, now_ms: int, *, copied: bool) -> VerifyReport:
        """Look at the next `count` accounts.

        copied:  PostgreSQL has what the live store has, so far as is known; else what is on its way is not waited for
        """
        report = VerifyReport(findings=[], sums={})
        report.quarantined = {one.account for one in await held(self._pool)}
        if not copied:
            self._awaited.clear()
        accounts = await self._next(count)
        seen = {
            fit(one.account.id): one
            for one in await read_accounts(self._redis, await self._small(accounts))
            if fit(one.account.id) not in report.quarantined
        }
        report.accounts = len(seen)
        for one in seen.values():
            check_holds(one, report)
        for account, seq, afters, *newest in await self._pool.fetch(_HEADS, [*seen, *self._awaited], ENTRIES):
            balances = _AFTERS.decode(afters)
            if newest[0]:
                _newest(account, seq, balances, newest, report)
            if account in seen:
                there = seen[account].account
                amounts = {bucket.id: bucket.amount for bucket in there.buckets if bucket.amount}
                if there.seq == seq and amounts != balances:
                    detail = f"at entry {seq} Redis has {amounts}, PostgreSQL {balances}"
                    report.found("amount", there.id, detail)
                if copied and there.seq > seq and account not in self._awaited:
                    self._awaited[account] = AwaitedEntry(there.seq, now_ms)
            self._wait(account, seq, now_ms, report)
        return report

    def _wait(self, account: str, seq: int, now_ms: int, report: VerifyReport) -> None:
        awaited = self._awaited.get(account)
        if awaited is None:
            return
        if seq >= awaited.seq or account in report.quarantined:
            del self._awaited[account]
        elif now_ms - awaited.since_ms > PATIENCE_MS:
            del self._awaited[account]
            report.found("behind", account, f"Redis had entry {awaited.seq} a minute ago, PostgreSQL is at {seq}")

    async def _next(self, count: int) -> list[str]:
        rows = await self._pool.fetch(
            "SELECT account FROM account_heads WHERE account > $1 ORDER BY account LIMIT $2", self._last, count
        )
        if len(rows) < count:
            self.rounds += 1
        self._last = rows[-1]["account"] if len(rows) == count else ""
        return [row["account"] for row in rows]

    async def _small(self, accounts: list[str]) -> list[str]:
        pipe = self._redis.pipeline(transaction=False)
        for account in accounts:
            pipe.hlen(keys.account(account))
        sizes = await pipe.execute()
        return [account for account, size in zip(accounts, sizes, strict=True) if 0 < size <= FIELDS_MAX]


def _newest(account: str, last: int, balances: dict[int, int], newest: list[Any], report: VerifyReport) -> None:
    """The newest entries follow each other, and the last of each bucket is what the head says.

    newest: their numbers, buckets, amounts, balances after them, and why they were made, in their order
    """
    before: dict[int, int] = {}
    previous = 0
    for seq, bucket, amount, after, why in zip(*newest, strict=True):
        if previous and seq != previous + 1 and why != RECOVERED:
            report.found("seq", account, f"entry {previous} is followed by {seq}")
        if bucket in before and before[bucket] + amount != after:
            report.found(
                "balance", account, f"entry {seq}, bucket {bucket}: {before[bucket]} + {amount} is not {after}"
            )
        before[bucket], previous = after, seq
    differs = {bucket: after for bucket, after in before.items() if balances.get(bucket, 0) != after}
    if previous != last or differs:
        report.found("head", account, f"its head says entry {last}, {balances}; its last is {previous}, {before}")
