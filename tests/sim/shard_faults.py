"""What goes wrong in the walk of shard_model.py: servers that fail over, go back, are wiped; backups."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.sim.shard_parts import Actor, Image, SimulatedPostgres, SimulatedServer


class ShardFaults:
    random: random.Random
    servers: list[SimulatedServer]
    pg: SimulatedPostgres
    backups: list[SimulatedPostgres]
    workers: list[Actor]
    copiers: list[Actor]
    openers: list[Actor]
    trimmer: Actor
    replids: int

    def rule(self, name: str) -> bool:
        raise NotImplementedError

    def count(self, what: str) -> None:
        raise NotImplementedError

    def masters(self) -> list[SimulatedServer]:
        return [server for server in self.servers if server.master]

    def new_history(self, server: SimulatedServer) -> None:
        self.replids += 1
        server.replid = self.replids

    def cut(self) -> None:
        """Connections end with a server's history, or at the next pass check, before anything is called."""
        for worker in self.workers:
            server = worker.server
            if server is not None and (not server.master or server.replid != worker.replid) and self.rule("pass"):
                worker.server = None

    def fail(self) -> None:
        kinds: list[Callable[[], None]] = [
            self.replicate, self.replicate, self.fail_over, self.rejoin, self.go_back, self.go_back, self.wipe,
            self.back_up, self.restore_backup,
        ]  # fmt: skip
        self.random.choice(kinds)()
        self.cut()

    def other(self, server: SimulatedServer) -> SimulatedServer:
        return self.servers[1 - self.servers.index(server)]

    def replicate(self) -> None:
        for server in self.masters():
            replica = self.other(server)
            if not replica.master:
                replica.become(self.random.choice(server.past))
                replica.config_epoch = server.config_epoch
                replica.past = [replica.image()]

    def fail_over(self) -> None:
        """The replica becomes master; the old one lives on in its partition for a while."""
        masters = self.masters()
        if len(masters) == 1:
            replica = self.other(masters[0])
            replica.master, replica.config_epoch = True, masters[0].config_epoch + 1
            self.new_history(replica)
            self.count("failed over")

    def rejoin(self) -> None:
        masters = self.masters()
        if len(masters) == 2:
            old = min(masters, key=lambda server: server.config_epoch)
            old.master = False
            old.become(self.other(old).image())
            old.config_epoch = self.other(old).config_epoch
            old.past = [old.image()]

    def go_back(self) -> None:
        """A restart, from an AOF that may lack the end."""
        if self.masters():
            server = self.random.choice(self.masters())
            kept = self.random.randrange(len(server.past))
            server.become(server.past[kept])
            server.past = server.past[: kept + 1]
            self.new_history(server)

    def wipe(self) -> None:
        if len(self.masters()) == 1 and self.random.random() < 0.5:
            server = self.masters()[0]
            server.become(Image())
            server.past = [Image()]
            self.new_history(server)

    def back_up(self) -> None:
        if not self.pg.rows:
            return  # an empty PostgreSQL beside a Redis whose whole stream was trimmed proves nothing, and is no backup
        self.backups = [*self.backups[-3:], self.pg.copy()]

    def restore_backup(self) -> None:
        """The operator stops everything, restores, and has everything opened anew (rule 12)."""
        if len(self.masters()) == 1 and self.backups and self.random.random() < 0.3:
            self.pg = self.random.choice(self.backups).copy()
            self.count("PostgreSQL went back")
            if self.rule("void"):
                self.pg.opened = (0, 0)
                for server in self.servers:
                    server.published = (0, server.published[1])
                    server.past = [image._replace(published=(0, image.published[1])) for image in server.past]
                for actor in (*self.workers, *self.copiers, *self.openers, self.trimmer):
                    actor.server, actor.step, actor.records = None, 0, []
                self.pg.config_epoch = max(server.config_epoch for server in self.masters())
