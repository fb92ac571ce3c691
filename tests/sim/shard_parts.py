"""What the walk of shard_model.py is made of: servers and what they keep, PostgreSQL, and processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

ACCOUNTS = ("a", "b", "c")

RULES = {
    "pass": "a worker calls only a server whose history is published (rule 4)",
    "fence": "a record of an older epoch than the head's is refused (rule 1)",
    "config_epoch": "an older failover epoch is not opened (rule 5a)",
    "forget": "what only one side has is forgotten (rule 5c)",
    "forget_compare": "... only while the head has not moved (rule 5c)",
    "publish_compare": "publish only the newest epoch (rule 5d)",
    "copy_published": "copy only from a published server (rule 6)",
    "copy_epoch": "commit only under the newest epoch (rule 6)",
    "copy_cursor": "commit only where the cursor still is (rule 6)",
    "trim_cursor": "trim only behind the committed cursor (rule 7)",
    "gap": "a trimmed gap is seen (rule 7)",
    "repeat": "the same request key, the same answer (rule 9)",
    "quarantine": "a broken record is kept, and the later ones of its account behind it: none is skipped (rule 6)",
    "held_shut": "an account in quarantine is not restored (rule 6)",
    "mark": "where Redis went back, or a gap was closed, a mark follows in the stream",
    "shard_config_epoch": "the failover epoch is kept for each shard (rule 5a)",
    "shard_published": "published is under the shard's tag, and moves with it (rule 4)",
    "moved_on": "a shard that moved is moved on, or back, only after it was opened where it arrived (rule 5)",
    "moved_opened": "a shard that moved is opened where it arrives: new epoch, head against cursor (rule 5)",
    "publish_last": "published only after the records in between are copied and what went back is forgotten (rule 5d)",
    "wait_replicas": "durability replicated: answered only once the replica has the call",
    "void": "PostgreSQL restored from a backup: everything is opened anew (rule 12)",
}


class SimulatedId(NamedTuple):
    epoch: int
    n: int


START = SimulatedId(0, -1)


class SimulatedAccount(NamedTuple):
    """An account: entries so far, and the requests they stand for."""

    seq: int = 0
    done: frozenset[int] = frozenset()


class SimulatedRecord(NamedTuple):
    at: SimulatedId
    account: str
    request: int
    after: SimulatedAccount
    recovered: bool = False
    broken: bool = False
    """It cannot be copied."""
    ref: SimulatedId | None = None
    """Of a mark: the record it comes after, for those who have that as their last."""


class InvariantBroken(Exception):
    """Money was lost or made."""


class Image(NamedTuple):
    """All a server keeps: what a replica receives, what an AOF holds."""

    log: tuple[SimulatedRecord, ...] = ()
    accounts: tuple[tuple[str, SimulatedAccount], ...] = ()
    published: tuple[int, int] = (0, 0)


@dataclass
class SimulatedServer:
    name: str
    replid: int = 0
    config_epoch: int = 0
    master: bool = False
    log: list[SimulatedRecord] = field(default_factory=list)
    accounts: dict[str, SimulatedAccount] = field(default_factory=dict)
    published: tuple[int, int] = (0, 0)
    past: list[Image] = field(default_factory=lambda: [Image()])

    @property
    def head(self) -> SimulatedId:
        return self.log[-1].at if self.log else START

    @property
    def pass_epoch(self) -> int:
        return self.published[1] if self.published[0] == self.replid else 0

    def image(self) -> Image:
        return Image(tuple(self.log), tuple(self.accounts.items()), self.published)

    def keep(self) -> None:
        self.past = [*self.past[-11:], self.image()]

    def become(self, image: Image) -> None:
        self.log, self.accounts, self.published = list(image.log), dict(image.accounts), image.published


@dataclass
class SimulatedPostgres:
    rows: list[SimulatedRecord] = field(default_factory=list)
    cursor: SimulatedId = START
    epoch: int = 0
    opened: tuple[int, int] = (0, 0)
    """History and epoch that are published."""
    config_epoch: int = 0
    held: dict[str, list[SimulatedRecord]] = field(default_factory=dict)
    """Accounts in quarantine, with their records in order."""

    def copy(self) -> SimulatedPostgres:
        held = {account: list(records) for account, records in self.held.items()}
        return SimulatedPostgres(list(self.rows), self.cursor, self.epoch, self.opened, self.config_epoch, held)

    def known(self) -> dict[SimulatedId, str]:
        """Whose each record is that is here, in the rows or in quarantine."""
        every = [*self.rows, *(record for records in self.held.values() for record in records)]
        return {record.at: record.account for record in every}

    def continues(self, record: SimulatedRecord) -> bool:
        """Whether an entry follows the last one of its account."""
        last = self.last_seq(record.account)
        return not record.request or record.after.seq == last + 1 or (record.recovered and record.after.seq > last)

    def confirm(self) -> int:
        """A person takes the state each broken record left behind for right (balances.ledger.quarantine)."""
        for records in self.held.values():
            for record in records:
                sound = self.continues(record) and not record.broken
                self.rows.append(record if sound else record._replace(broken=False, recovered=True))
        done, self.held = len(self.held), {}
        return done

    def account(self, name: str) -> SimulatedAccount:
        mine = [row for row in self.rows if row.account == name]
        return (
            mine[-1].after if mine else SimulatedAccount()
        )  # in the order of `position`, not of ids: see calls.position

    def last_seq(self, name: str) -> int:
        return max((row.after.seq for row in self.rows if row.account == name and row.request), default=0)


@dataclass
class Actor:
    """A process: what it has read and not acted on yet."""

    step: int = 0
    server: SimulatedServer | None = None
    replid: int = 0
    epoch: int = 0
    opened_before: int = 0
    cursor: SimulatedId = START
    head: SimulatedId = START
    records: list[SimulatedRecord] = field(default_factory=list)


def continues(before: SimulatedId, records: list[SimulatedRecord], opened_epoch: int) -> bool:
    """balances.ledger.record.follows, for a row of them."""
    for record in records:
        at = record.at
        if not (at.n == before.n + 1 if at.epoch == before.epoch else at.n == 0 and at.epoch == opened_epoch):
            return False
        before = at
    return True
