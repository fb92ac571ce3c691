"""The rules of durability.md as a random walk: `python -m tests.sim.shard_model [runs] [rule to switch off ...]`.

One shard with several accounts on two servers (failover, split brain, older AOF, wiped), one PostgreSQL (restored from
backups), workers, copiers, openers, trimmers and restorers, each of which may be interrupted between any two steps.
What `balances/ledger` does in one atomic command or transaction is one step here; function names say which is meant.

A balance is stood for by the set of requests that were executed: charging a request twice, or losing one that
PostgreSQL has, shows in it. A run ends with repairs, a last call to each account, and the proof that Redis and
PostgreSQL agree.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

from tests.sim.shard_copy import Copying
from tests.sim.shard_parts import (
    ACCOUNTS,
    RULES,
    START,
    Actor,
    InvariantBroken,
    SimulatedAccount,
    SimulatedId,
    SimulatedPostgres,
    SimulatedRecord,
    SimulatedServer,
    continues,
)


class World(Copying):
    def __init__(self, seed: int, off: frozenset[str] = frozenset()) -> None:
        servers = [SimulatedServer("A"), SimulatedServer("B")]
        self.begin(random.Random(seed), off, servers, {})
        self.new_history(servers[0])
        servers[0].master = True
        self.open_now()

    def begin(
        self, rolls: random.Random, off: frozenset[str], servers: Sequence[SimulatedServer], counts: dict[str, int]
    ) -> None:
        self.random = rolls
        self.off = off
        self.servers = list(servers)
        self.pg = SimulatedPostgres()
        self.backups: list[SimulatedPostgres] = []
        self.clock = self.replids = self.requests = 0
        self.account_of: dict[int, str] = {}
        self.workers = [Actor() for _ in range(2)]
        self.copiers = [Actor() for _ in range(2)]
        self.openers = [Actor() for _ in range(2)]
        self.trimmer = Actor()
        self.gap_seen = False
        self.breaks = True
        """Now and then a record is written that cannot be copied."""
        self.counts = counts

    def rule(self, name: str) -> bool:
        assert name in RULES
        return name not in self.off

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- workers: one Lua call is one step

    def connect(self, worker: Actor) -> None:
        """The pass check."""
        masters = self.masters()
        if masters:
            worker.server = self.random.choice(masters)
            worker.replid = worker.server.replid
            worker.epoch = worker.server.pass_epoch if self.rule("pass") else self.pg.epoch

    def call(self, worker: Actor, request: int = 0) -> None:
        server = worker.server
        if server is None or not worker.epoch or not server.master:
            worker.server = None
            return
        if not request:
            self.requests += 1
            request = self.requests
            self.account_of[request] = self.random.choice(ACCOUNTS)
        account = self.account_of[request]
        if account not in server.accounts and account in self.pg.held and self.rule("held_shut"):
            return
        if account not in server.accounts:  # absent: restored, if it still is, in a script of its own
            if not self.append(worker, SimulatedRecord(START, account, 0, self.pg.account(account))):
                return
            self.count("restored")
            if self.random.random() < 0.3:
                return  # interrupted: the call is sent again, or not
        state = server.accounts[account]
        if request in state.done and self.rule("repeat"):
            return
        broken = self.breaks and self.random.random() < 0.01
        self.append(
            worker,
            SimulatedRecord(
                START, account, request, SimulatedAccount(state.seq + 1, state.done | {request}), broken=broken
            ),
        )

    def append(self, worker: Actor, record: SimulatedRecord) -> bool:
        server = worker.server
        assert server is not None
        head, epoch = server.head, worker.epoch
        if epoch < head.epoch:
            if self.rule("fence"):
                return False
            epoch = head.epoch
        at = SimulatedId(epoch, head.n + 1 if epoch == head.epoch else 0)
        server.log.append(record._replace(at=at))
        server.accounts[record.account] = record.after
        server.keep()
        if record.request:
            self.executed(record.request, server)
        return True

    def executed(self, request: int, server: SimulatedServer) -> None:
        """A call was made; whether it is answered is said by what the durability waits for."""

    # --- openers: Opening._run, its steps

    def open(self, opener: Actor) -> None:
        (self.open_draw, self.open_look, self.open_act, self.open_publish, self.open_mirror)[opener.step](opener)

    def open_draw(self, opener: Actor) -> None:
        pg = self.pg
        shut = [s for s in self.masters() if self.gap_seen or not pg.opened == s.published == (s.replid, pg.epoch)]
        if not shut:
            return
        server = self.random.choice(shut)
        if self.rule("config_epoch") and server.config_epoch < self.known_config_epoch():
            return
        pg.config_epoch = max(pg.config_epoch, server.config_epoch)
        opener.server, opener.replid, opener.opened_before = server, server.replid, pg.opened[1]
        if not self.rule("moved_opened") and self.moved(server):
            pg.opened = server.published = (server.replid, pg.epoch)
            return
        self.clock = max(self.clock, pg.epoch, server.head.epoch, server.published[1]) + 1
        opener.epoch = pg.epoch = self.clock
        opener.step = 1
        if not self.rule("publish_last"):
            pg.opened = server.published = (server.replid, opener.epoch)
            server.keep()

    def moved(self, server: SimulatedServer) -> bool:
        """Whether the shard came to this server by a slot move, and was not opened here since."""
        return False

    def known_config_epoch(self) -> int:
        return self.pg.config_epoch

    def still(self, opener: Actor) -> SimulatedServer | None:
        server = opener.server
        if server is None or not server.master or server.replid != opener.replid:
            opener.step = 0
            return None
        return server

    def open_look(self, opener: Actor) -> None:
        if (server := self.still(opener)) is not None:
            opener.cursor, opener.head, opener.step = self.pg.cursor, server.head, 2

    def open_act(self, opener: Actor) -> None:
        if (server := self.still(opener)) is None:
            return
        opener.step = 3
        if opener.head < opener.cursor:
            self.step_back(opener, server)
            return
        opener.records = [record for record in server.log if opener.cursor < record.at <= opener.head]
        if self.rule("gap") and not self.provable(opener, server):
            self.recover(opener, server)
        if (
            opener.step
            and opener.head > opener.cursor
            and not self.copy_commit(opener, opening=True, cursor=opener.head)
        ):
            opener.step = 0

    def provable(self, opener: Actor, server: SimulatedServer) -> bool:
        """Opening._gap."""
        before, there, ids = opener.cursor, False, {record.at for record in server.log}
        for record in opener.records:
            if record.ref is not None:
                if record.ref != before:
                    return False
            elif not continues(before, [record], opener.opened_before):
                begins = record.at.n == 0 and record.at.epoch > before.epoch
                if not (begins and (there or before in ids)):
                    return False
            before, there = record.at, True
        return True

    def step_back(self, opener: Actor, server: SimulatedServer) -> None:
        """Opening._step_back: compare id by id, forget what only one side has."""
        if not self.rule("forget"):
            return
        self.count("went back")
        here = {record.at: record.account for record in server.log}
        if here:
            there = {at: account for at, account in self.pg.known().items() if at >= min(here)}
            accounts = {account for at, account in here.items() if at not in there}
            accounts |= {
                account for at, account in there.items() if (at not in here if at.n >= 0 else at > opener.head)
            }
        else:
            accounts = set(server.accounts)
        self.forget(opener, server, accounts)
        if self.rule("mark") and opener.step:
            self.mark(opener, server, opener.cursor)

    def forget(self, opener: Actor, server: SimulatedServer, accounts: set[str]) -> None:
        if server.head.epoch >= opener.epoch or (server.head != opener.head and self.rule("forget_compare")):
            opener.step = 0
            return
        for account in accounts:
            server.accounts.pop(account, None)
        server.keep()

    def recover(self, opener: Actor, server: SimulatedServer) -> None:
        """Opening._recover: PostgreSQL takes the accounts as Redis has them; what cannot be joined on is taken back."""
        self.count("recovered")
        if server.head != opener.head or server.head.epoch >= opener.epoch:
            opener.step, opener.records = 0, []  # XADD refuses the mark of an opener that was overtaken
            return
        self.gap_seen = False
        first: dict[str, int] = {}
        last: dict[str, int] = {}

        for record in opener.records:
            if record.request:
                if record.after.seq != last.get(record.account, -1) + 1:
                    first[record.account] = record.after.seq  # where what still follows each other begins
                last[record.account] = record.after.seq
        snapshots: list[SimulatedRecord] = []
        diverged = {record.account for record in opener.records} - server.accounts.keys() - {""}
        for account, state in server.accounts.items():
            seq, known = first.get(account, state.seq + 1) - 1, self.pg.last_seq(account)
            if seq < known:
                diverged.add(account)
                continue
            lost = seq > known
            # Below 0 no stream counts. The entry that stands for all that is lost, and then the state as it is now.
            if lost:
                gap_end = SimulatedAccount(seq, state.done)
                snapshots.append(
                    SimulatedRecord(
                        SimulatedId(opener.epoch, len(snapshots) - 99), account, -1, gap_end, recovered=True
                    )
                )
            snapshots.append(
                SimulatedRecord(SimulatedId(opener.epoch, len(snapshots) - 99), account, 0, state, recovered=True)
            )
        opener.records = snapshots + [
            record if record.after.seq >= first.get(record.account, 0) else record._replace(request=0)
            for record in opener.records
            if record.account not in diverged
        ]
        self.forget(opener, server, diverged)
        if self.rule("mark"):
            opener.records.append(self.mark(opener, server, opener.head))
            opener.head = server.head

    def mark(self, opener: Actor, server: SimulatedServer, ref: SimulatedId) -> SimulatedRecord:
        mark = SimulatedRecord(SimulatedId(opener.epoch, 0), "", 0, SimulatedAccount(), ref=ref)
        server.log.append(mark)
        server.keep()
        return mark

    def open_publish(self, opener: Actor) -> None:
        opener.step = 0
        if self.still(opener) is not None and (opener.epoch == self.pg.epoch or not self.rule("publish_compare")):
            self.pg.opened = (opener.replid, opener.epoch)
            opener.step = 4

    def open_mirror(self, opener: Actor) -> None:
        opener.step = 0
        server = opener.server
        if server is not None and server.master and server.published[1] < opener.epoch:
            server.published = (opener.replid, opener.epoch)
            server.keep()
            self.gap_seen = False
            self.count("opened")

    # --- trimming: Sync.trim, a look and a cut that may come much later

    def trim(self) -> None:
        trimmer = self.trimmer
        if trimmer.step == 0:
            for server in self.masters():
                if self.pg.opened == (server.replid, self.pg.epoch):
                    trimmer.server, trimmer.step = server, 1
                    trimmer.cursor = self.pg.cursor if self.rule("trim_cursor") else server.head
            return
        trimmer.step = 0
        assert trimmer.server is not None
        if trimmer.server.master:
            keep = trimmer.cursor._replace(n=max(trimmer.cursor.n - self.random.randint(0, 2), 0))
            trimmer.server.log = [record for record in trimmer.server.log if record.at >= keep]
            trimmer.server.keep()
            self.count("trimmed")

    # --- a run

    def step(self) -> None:
        x = self.random.random()
        if x < 0.33:
            self.call(self.random.choice(self.workers))
        elif x < 0.40 and self.requests:
            self.call(self.random.choice(self.workers), self.random.randint(1, self.requests))
        elif x < 0.50:
            self.connect(self.random.choice(self.workers))
        elif x < 0.62:
            self.copy_read(self.random.choice(self.copiers))
        elif x < 0.76:
            self.copy_commit(self.random.choice(self.copiers))
        elif x < 0.80:
            self.trim()
        elif x < 0.935:
            self.open(self.random.choice(self.openers))
        elif x < 0.94:
            self.confirm()
        else:
            self.fail()

    def open_now(self) -> None:
        opener = Actor()
        for _ in range(40):
            self.open(opener)

    def settle(self) -> None:
        """Repairs, a last call to every account, all copied; then the proof."""
        self.breaks = False
        self.rejoin()
        self.cut()
        self.openers = []
        self.open_now()
        server = self.masters()[0]
        if not self.pg.opened == server.published == (server.replid, self.pg.epoch):
            raise InvariantBroken("a sound server cannot be opened")
        self.copy_all()
        self.confirm()
        worker = self.workers[0]
        for account in ACCOUNTS:
            self.connect(worker)
            self.requests += 1
            self.account_of[self.requests] = account
            for _ in range(20):
                if self.requests not in server.accounts.get(account, SimulatedAccount()).done:
                    self.call(worker, self.requests)
        self.copy_all()
        for account in ACCOUNTS:
            here, there = server.accounts[account], self.pg.account(account)
            if here != there:
                raise InvariantBroken(f"account {account}: Redis has {here}, PostgreSQL {there}")
            if here.seq != len(here.done):
                raise InvariantBroken(f"account {account}: {here.seq} entries for {len(here.done)} requests")
            rows = [row for row in self.pg.rows if row.account == account and row.request > 0]
            if len({row.request for row in rows}) != len(rows):
                raise InvariantBroken(f"account {account}: a request was charged twice")
            if not {row.request for row in rows} <= here.done:
                raise InvariantBroken(f"account {account}: what PostgreSQL has charged is forgotten")


def run(seed: int, off: frozenset[str] = frozenset(), steps: int = 150) -> dict[str, int]:
    """One walk; raises Broken. Returns how often what happened."""
    world = World(seed, off)
    for _ in range(steps):
        world.step()
    world.settle()
    return world.counts


def search(runs: int, off: frozenset[str] = frozenset()) -> tuple[dict[str, int], dict[int, str]]:
    """What happened in all runs, and the seeds that broke."""
    counts: dict[str, int] = {}
    broken: dict[int, str] = {}
    for seed in range(runs):
        try:
            for what, times in run(seed, off).items():
                counts[what] = counts.get(what, 0) + times
        except InvariantBroken as why:
            broken[seed] = str(why)
    return counts, broken


def main() -> None:
    runs, off = int((sys.argv[1:] or ["2000"])[0]), frozenset(sys.argv[2:])
    counts, broken = search(runs, off)
    print(f"{runs} runs, rules off: {', '.join(off) or 'none'}: {len(broken) or 'none'} broken; {counts}")
    for seed, why in list(broken.items())[:5]:
        print(f"  seed {seed}: {why}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
