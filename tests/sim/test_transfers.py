"""Transfers between accounts on three shards, as a random walk: who makes the legs is killed between any two steps, two
of them work at once, a shard falls back to what was copied, the other account closes and opens meanwhile. Afterwards a
keeper goes on, and then every transfer has ended once, on one side, and no money came or went (charging.md section 17).

The operations are the twins, the rows are made by the code that copies; the walk has only the stores that lose things.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from balances.ledger.transfers import TransferState, leg_row, next_leg, transfer_id
from balances.model.kept import Appended
from balances.model.store import Model
from balances.packing import fresh_account, pack
from balances.structs.account import MAIN, REFUSING, SuspendReasons
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening, AccountSettings, Post, Posting
from balances.structs.record import CounterAccount, Entry
from tariffs.units import Kind

COLUMNS = (
    *("id", "source", "target", "amount", "currency", "state", "sent_ms", "ended_ms", "sent_seq", "ended_seq"),
    *("actor", "reason", "reference", "refused", "moved", "tags"),
)
ACCOUNTS = ("a", "b", "c")
WORTH = 100


class SimulatedShard:
    """One account on a shard of its own, which may fall back to what PostgreSQL has."""

    def __init__(self, account: str) -> None:
        self.model = Model()
        opening = AccountOpening(raw_of(pack(fresh_account(account, "EUR"))), [], [], 1, "open")
        self.model.open(account, opening)
        self.model.post(post(account, f"fund {account}", WORTH, CounterAccount.TOP_UP))
        self.copied = copy.deepcopy(self.model)

    def fail_over(self) -> None:
        self.model = copy.deepcopy(self.copied)


def post(account: str, key: str, amount: int, book: str = CounterAccount.TRANSIT, **more: Any) -> Post:
    posting = Posting(MAIN, Kind.MONEY, amount, book, "transfer")
    return Post(account, key, f"{amount} {more.get('counterpart')}", 1, 10**9, "me", "gift", "", [posting], **more)


class TransferWalk:
    def __init__(self, seed: int, *, merges: bool = False) -> None:
        self.random, self.merges = random.Random(seed), merges
        self.shards = {account: SimulatedShard(account) for account in ACCOUNTS}
        self.rows: dict[str, dict[str, Any]] = {}
        self.ends: dict[str, list[str]] = {}
        """What each transfer came to, by the records that were copied."""
        self.orders: list[Post] = []
        self.bundles: list[str] = []

    # --- what may happen

    def merge(self) -> None:
        """Somebody orders that all of an account goes to another one: PostgreSQL has the row, or it is none."""
        source, target = self.random.sample(ACCOUNTS, 2)
        id_ = transfer_id(source, f"merge {len(self.rows)}")
        said = {"id": id_, "source": source, "target": target, "amount": 0, "currency": "EUR", "merges": True}
        who = {
            "actor": "me",
            "reason": "married",
            "reference": "",
            "tags": "",
            "moved": None,
            "state": TransferState.ORDERED,
        }
        self.rows.setdefault(id_, said | who)

    def bundle(self) -> None:
        """Units and bonus money go with the rest."""
        account, number = self.random.choice(ACCOUNTS), len(self.bundles)
        kind, amount = self.random.choice(((Kind.MONEY, 5), (Kind.OCTETS, 7)))
        given = Posting(-1, kind, amount, CounterAccount.ADJUSTMENT, "gift", name=f"b{number}", bonus=True)
        wanted = post(account, f"bundle {number}", 0)
        wanted.postings = [given]
        if self.shards[account].model.post(wanted).status == "ok":
            self.bundles.append(f"bundle {number}")

    def order(self) -> None:
        """Whoever takes the order makes the first leg, and may be killed then; or it comes once more."""
        if self.orders and self.random.random() < 0.4:
            wanted = self.random.choice(self.orders)
        else:
            source, target = self.random.sample(ACCOUNTS, 2)
            key = f"http me {len(self.orders)}"
            amount, id_ = -self.random.randint(1, 60), transfer_id(source, key)
            wanted = post(source, key, amount, own_only=True, transfer=id_, counterpart=target, denied_in=REFUSING)
            self.orders.append(wanted)
        self.shards[wanted.account].model.post(wanted)

    def go_on(self, row: dict[str, Any] | None = None) -> None:
        """A keeper, or who took the order, makes the next leg by a row it read some time ago."""
        seen = [row] if row else [copy.copy(one) for one in self.rows.values() if one["state"] < TransferState.RECEIVED]
        if not seen:
            return
        leg = next_leg(self.random.choice(seen), 1)
        for _ in range(self.random.choice((1, 1, 2))):
            model = self.shards[leg.account].model
            if isinstance(leg, Post):
                model.post(leg)
            else:
                model.close(leg)

    def copy(self) -> None:
        """One transaction: the records of a shard, with the rows they become."""
        shard = self.shards[self.random.choice(ACCOUNTS)]
        for appended in shard.model.ledger[len(shard.copied.ledger) :]:
            self._row(appended)
        shard.copied = copy.deepcopy(shard.model)

    def _row(self, appended: Appended) -> None:
        record = appended.record
        if not record.transfer:
            return
        once = pack(appended.answer) if appended.answer is not None else None
        leg = dict(zip(COLUMNS, leg_row(record, record.account, record.counterpart, once), strict=True))
        leg["merges"] = False
        row = self.rows.setdefault(record.transfer, leg)
        row["state"] = max(row["state"], leg["state"])
        if leg["moved"] is not None:
            row["moved"], row["amount"] = leg["moved"], leg["amount"]
        if leg["state"].ended:
            self.ends.setdefault(record.transfer, []).append(leg["state"].name)

    def fail_over(self) -> None:
        self.shards[self.random.choice(ACCOUNTS)].fail_over()

    def close_or_open(self) -> None:
        account = self.random.choice(ACCOUNTS)
        closed = SuspendReasons.CLOSED if self.random.random() < 0.5 else 0
        change = AccountSettings(account, 1, None, set_state=closed, clear_state=SuspendReasons.CLOSED - closed)
        self.shards[account].model.settings(change)

    # --- and at the end

    def run(self, steps: int) -> None:
        happen = [self.order, self.go_on, self.copy, self.copy, self.go_on, self.close_or_open, self.fail_over]
        happen += [self.merge, self.bundle] if self.merges else []
        late: list[dict[str, Any]] = []
        for _ in range(steps):
            if self.rows and self.random.random() < 0.1:  # read now, acted upon much later
                late.append(copy.copy(self.random.choice([*self.rows.values()])))
            if late and self.random.random() < 0.1:
                row = late.pop(0)
                if row["state"] < TransferState.RECEIVED:
                    self.go_on(row)
            self.random.choice(happen)()
        while True:
            for _ in range(40):
                self.copy()
            on_their_way = [row for row in self.rows.values() if row["state"] < TransferState.RECEIVED]
            if not on_their_way:
                return
            for row in on_their_way:
                self.go_on(row)

    def entries(self) -> list[Entry]:
        return [e for s in self.shards.values() for one in s.model.ledger for e in one.record.entries]

    def money(self) -> int:
        accounts = [shard.model.accounts[name] for name, shard in self.shards.items()]
        return sum(bucket.amount for account in accounts for bucket in account.buckets)


@pytest.mark.parametrize("seed", range(60))
def test_nothing_stays_on_its_way_and_nothing_arrives_twice(seed: int) -> None:
    walk = TransferWalk(seed)
    walk.run(150)
    assert walk.money() == WORTH * len(ACCOUNTS), f"seed {seed}"
    assert {transfer: len(ends) for transfer, ends in walk.ends.items()} == dict.fromkeys(walk.rows, 1), f"seed {seed}"
    entries = walk.entries()
    assert sum(e.amount for e in entries if e.counter_account == CounterAccount.TRANSIT) == 0


@pytest.mark.parametrize("seed", range(60))
def test_a_merge_arrives_once_whatever_is_lost(seed: int) -> None:
    """Beside transfers, with bonus money and units, accounts that close and open, and shards that fall back: all that
    left came in on one side, kind by kind."""
    walk = TransferWalk(seed, merges=True)
    walk.run(150)
    assert {transfer: len(ends) for transfer, ends in walk.ends.items()} == dict.fromkeys(walk.rows, 1), f"seed {seed}"
    entries = walk.entries()
    for kind in (Kind.MONEY, Kind.OCTETS):
        of_kind = [e for e in entries if e.kind == kind]
        assert sum(e.amount for e in of_kind if e.counter_account == CounterAccount.TRANSIT) == 0, f"seed {seed}"
        accounts = [shard.model.accounts[name] for name, shard in walk.shards.items()]
        has = sum(bucket.amount for account in accounts for bucket in account.buckets if bucket.kind == kind)
        assert has == sum(e.amount for e in of_kind if e.counter_account != CounterAccount.TRANSIT), f"seed {seed}"


def test_the_walk_takes_every_way() -> None:
    """Refused and returned, received, fallen back."""
    seen: set[str] = set()
    for seed in range(20):
        walk = TransferWalk(seed)
        walk.run(150)
        seen |= {end for ends in walk.ends.values() for end in ends}
    assert seen == {"RECEIVED", "RETURNED"}
