"""The copy from a stream to PostgreSQL in the walk of shard_model.py, and what a person decides about quarantine."""

from __future__ import annotations

from tests.sim.shard_faults import ShardFaults
from tests.sim.shard_parts import START, Actor, InvariantBroken, SimulatedId, continues


class Copying(ShardFaults):
    gap_seen: bool

    def open_now(self) -> None:
        raise NotImplementedError

    # --- copiers: Sync.step is a read and a commit

    def copy_read(self, copier: Actor) -> None:
        if not self.masters():
            return
        server, pg = self.random.choice(self.masters()), self.pg
        if self.rule("copy_published") and pg.opened != (server.replid, pg.epoch):
            return
        records = [record for record in server.log if record.at > pg.cursor][: self.random.randint(1, 4)]
        if self.rule("gap") and not continues(pg.cursor, records, pg.opened[1]):
            self.gap_seen = True
            return
        copier.server, copier.epoch, copier.cursor, copier.records = server, pg.epoch, pg.cursor, records

    def copy_commit(self, copier: Actor, *, opening: bool = False, cursor: SimulatedId = START) -> bool:
        """One transaction. `cursor` is where it ends, if not at the last record."""
        records, copier.records = copier.records, []
        if not records and not opening:
            return False
        if self.rule("copy_epoch") and copier.epoch != self.pg.epoch:
            return False
        if self.rule("copy_cursor") and copier.cursor != self.pg.cursor:
            return False
        known, held = self.pg.known(), self.pg.held
        for record in records:
            if record.at in known:
                raise InvariantBroken(f"record {record.at} copied twice")
            if record.broken and not self.rule("quarantine"):
                continue  # skipped
            if record.broken or record.account in held:
                held.setdefault(record.account, []).append(record)
                self.count("quarantined")
                continue
            if not self.pg.continues(record):
                last = self.pg.last_seq(record.account)
                raise InvariantBroken(f"account {record.account} goes from entry {last} to {record.after.seq}")
            self.pg.rows.append(record)
        counted = [record.at for record in records if record.at.n >= 0]
        self.pg.cursor = max([self.pg.cursor, cursor, *counted])
        self.count("copied by an opening" if opening else "copied")
        return True

    # --- a person

    def confirm(self) -> None:
        if self.pg.confirm():
            self.count("confirmed")

    def copy_all(self) -> None:
        for _ in range(60):
            self.copy_read(self.copiers[0])
            self.copy_commit(self.copiers[0])
            if self.gap_seen:
                self.open_now()
