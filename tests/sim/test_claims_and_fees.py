"""Vouchers and recurring fees as a random walk: two keepers and whoever takes requests, each killed between any two
steps, with rows they read long ago; shards that fall back to what was copied. Afterwards one keeper goes on, and then
each voucher that was claimed is credited once, to who claimed it, each day of a fee is taken once, and no money came or
went.

Rules: an effect starts from a row of PostgreSQL and carries its own key (durability.md rule 10); a fee is done once by
the days that the account says are settled (charging.md section 21). The operations are the twins, and what credits a
claim, or finds it credited, is the code of the product; the keepers are written here, from the rules.

`python -m tests.sim.test_claims_and_fees SEED` plays one walk again.
"""

from __future__ import annotations

import copy
import random
import sys
from collections import Counter
from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from balances.ledger.record import RecordedCall, RecordId, add_rows, no_rows
from balances.ledger.voucher_claims import post_of
from balances.model.store import Model
from balances.packing import fresh_account, pack
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening, Fee, FeeFunds, FeeOutcome, FeeStep, Post, Posting
from balances.structs.record import CounterAccount, Entry
from tariffs.units import Kind

ACCOUNTS = ("a", "b", "c")
SERIALS = range(1, 13)
FIRST_DAY, DAYS = 20_000, 6
PRICE = 7
FUNDS = 15
STEPS = 220
_OUTCOME = msgspec.msgpack.Decoder(FeeOutcome)

Work = Generator[None, None, None]
"""What a process does, step by step; it may be killed at each `yield`."""


class FallibleShard:
    """One account on a shard of its own, which may fall back to what PostgreSQL has."""

    def __init__(self, account: str) -> None:
        self.model = Model()
        opening = AccountOpening(raw_of(pack(fresh_account(account, "EUR"))), [], [], 1, "open")
        self.model.open(account, opening)
        posting = Posting(MAIN, Kind.MONEY, FUNDS, CounterAccount.TOP_UP, "top-up")
        self.model.post(Post(account, f"fund {account}", "x", 1, 10**9, "me", "", "", [posting]))
        self.copied = copy.deepcopy(self.model)


class ClaimWalk:
    """PostgreSQL loses nothing; the shards lose what was not copied."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.shards = {account: FallibleShard(account) for account in ACCOUNTS}
        self.claims: dict[int, dict[str, Any]] = {}
        self.fees = {account: {"day": FIRST_DAY, "known": 0} for account in ACCOUNTS}
        """Of each account's fee what PostgreSQL has: the first day that is not settled."""
        self.working: list[Work] = []
        self.now_ms = 1
        self.today = FIRST_DAY + DAYS - 1
        self.seen: Counter[str] = Counter()

    # --- processes

    def redeem(self) -> Work:
        """A voucher is claimed in PostgreSQL, once; then credited under its own key. Anybody may try again."""
        serial, account = self.random.choice(SERIALS), self.random.choice(ACCOUNTS)
        if serial in self.claims:
            self.seen["claimed before"] += 1
            return
        self.claims[serial] = {
            "batch": "b", "serial": serial, "account": account, "claimed_ms": self.now_ms, "claimed_by": "me",
            "reference": "", "tags": "", "kind": int(Kind.MONEY), "amount": 100 + serial, "valid_for_s": None,
            "from_first_use": False, "scope": [], "name": "", "priority": 0, "seq": None, "credited_ms": None,
            "gift": None, "offer": "",
        }  # fmt: skip
        yield  # killed here: a keeper finds the claim
        yield from self._credit(copy.copy(self.claims[serial]))

    def _credit(self, claim: dict[str, Any]) -> Work:
        shard = self.shards[claim["account"]]
        status = shard.model.post(post_of(claim, self.now_ms)).status
        self.seen[f"credit {status}"] += 1
        yield

    def finish_claims(self) -> Work:
        """A keeper credits claims of which no entry was copied, by rows that it read before."""
        open_ = [copy.copy(claim) for claim in self.claims.values() if claim["credited_ms"] is None]
        for claim in open_:
            yield
            yield from self._credit(claim)

    def run_fees(self) -> Work:
        """A keeper settles what is due: it reads how far PostgreSQL knows, asks the store, writes what that said."""
        account = self.random.choice(ACCOUNTS)
        row = copy.copy(self.fees[account])
        while row["day"] < self.today:
            yield
            day = row["day"]
            fee = Fee(
                account, f"fee {account} {day}", "", self.now_ms, 0, "keeper", "", "", chain="s/t/f", subscriber="s",
                step=FeeStep.TAKE, from_day=day, until_day=day + 1, amount=PRICE, funds=FeeFunds.CREDIT,
                known_day=row["known"],
            )  # fmt: skip
            reply = self.shards[account].model.fee(fee)
            self.seen[f"fee {reply.status}"] += 1
            yield  # killed here: PostgreSQL does not know that it was settled
            if reply.status not in ("ok", "again", "refused"):
                return
            mark = _OUTCOME.decode(reply.outcome).mark
            if mark.day == 0 or mark.day < row["known"]:  # the store fell back
                self.seen["fell back"] += 1
                self._know(account, mark.day or FIRST_DAY, 0)
                return
            if mark.day == day:  # money is short: it is tried again
                self.seen["short"] += 1
                return
            self._know(account, mark.day, mark.day)
            row = copy.copy(self.fees[account])

    def _know(self, account: str, day: int, known: int) -> None:
        self.fees[account].update(day=day, known=known)

    # --- what happens to them

    def begin(self) -> None:
        self.working.append(self.random.choice((self.redeem, self.finish_claims, self.run_fees, self.run_fees))())

    def go_on(self) -> None:
        if self.working:
            one = self.random.choice(self.working)
            if next(one, "over") == "over":
                self.working.remove(one)

    def kill(self) -> None:
        if self.working:
            self.seen["killed"] += 1
            self.working.remove(self.random.choice(self.working))

    def copy(self) -> None:
        """One transaction: the records of a shard, and what they say of claims."""
        shard = self.shards[self.random.choice(ACCOUNTS)]
        rows = no_rows()
        for n, one in enumerate(shard.model.ledger[len(shard.copied.ledger) :]):
            call = RecordedCall(RecordId(1, n), one.record, pack(one.record), None, None, None, None, None)
            add_rows(rows, 0, n, call)
        for batch, serial, seq, at_ms in rows.credited:
            assert batch == "b"
            assert self.claims[serial]["credited_ms"] is None, f"voucher {serial} is credited twice"
            self.claims[serial].update(seq=seq, credited_ms=at_ms)
        shard.copied = copy.deepcopy(shard.model)

    def fail_over(self) -> None:
        account = self.random.choice(ACCOUNTS)
        shard = self.shards[account]
        if len(shard.model.ledger) > len(shard.copied.ledger):
            self.seen["lost"] += 1
        shard.model = copy.deepcopy(shard.copied)

    def run(self) -> None:
        happen = [self.begin, self.go_on, self.go_on, self.go_on, self.copy, self.kill, self.fail_over]
        for _ in range(STEPS):
            self.now_ms += 1
            self.random.choice(happen)()
        self.today += 1  # what a shard lost of a fee is found when the next day is due
        for account in ACCOUNTS:
            posting = Posting(MAIN, Kind.MONEY, PRICE * DAYS, CounterAccount.TOP_UP, "top-up")
            self.shards[account].model.post(Post(account, f"rich {account}", "x", 1, 10**9, "me", "", "", [posting]))
        for _ in range(60):  # from now on one keeper lives
            for work in (self.finish_claims(), self.run_fees()):
                for _ in work:
                    pass
            self.copy()

    def check(self) -> None:
        entries = {
            account: [entry for one in shard.model.ledger for entry in one.record.entries]
            for account, shard in self.shards.items()
        }
        credited = Counter(
            (account, entry.amount)
            for account, of in entries.items()
            for entry in of
            if entry.counter_account == CounterAccount.VOUCHER
        )
        assert credited == Counter((claim["account"], claim["amount"]) for claim in self.claims.values())
        assert all(claim["credited_ms"] is not None for claim in self.claims.values())
        for account, shard in self.shards.items():
            taken = [self._day(one.record.key) for one in shard.model.ledger if self._pays(one.record.entries)]
            cost = -sum(e.amount for e in entries[account] if e.counter_account == CounterAccount.FEE)
            assert cost == PRICE * DAYS, f"fees of {account}"
            assert sorted(set(taken)) == [*range(FIRST_DAY, FIRST_DAY + DAYS)]
            assert len(taken) == len(set(taken)), "a day was taken twice"
            money = sum(bucket.amount for bucket in shard.model.accounts[account].buckets)
            assert money == sum(entry.amount for entry in entries[account])

    @staticmethod
    def _pays(entries: list[Entry]) -> bool:
        return any(entry.counter_account == CounterAccount.FEE for entry in entries)

    @staticmethod
    def _day(key: str) -> int:
        return int(key.rpartition(" ")[2])


def play(seed: int) -> ClaimWalk:
    walk = ClaimWalk(seed)
    try:
        walk.run()
        walk.check()
    except AssertionError as why:
        raise AssertionError(f"{why}\nagain: python -m tests.sim.test_claims_and_fees {seed}") from why
    return walk


@pytest.mark.parametrize("seeds", range(4))
def test_each_voucher_is_credited_once_and_each_day_taken_once(seeds: int) -> None:
    for seed in range(seeds * 20, seeds * 20 + 20):
        play(seed)


def test_the_walk_meets_all_of_it() -> None:
    """A walk that meets nothing proves nothing."""
    seen: Counter[str] = Counter()
    for seed in range(20):
        seen.update(play(seed).seen)
    for what in ("claimed before", "credit ok", "credit again", "killed", "lost", "fee ok", "fee again", "short"):
        assert seen[what] > 5, (what, seen)


if __name__ == "__main__":
    play(int(sys.argv[1]))
