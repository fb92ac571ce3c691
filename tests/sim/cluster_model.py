"""The rules of durability.md for a store with several primaries, as a random walk: `python -m tests.sim.cluster_model
[runs] [rule to switch off ...]`.

Two shards on two primaries with a replica each. A node has one history and one failover epoch, for all its shards; the
shards come and go by slot moves. Each shard is walked as shard_model.py walks its one, with a PostgreSQL row, workers,
copiers and openers of its own. What is new: a failover of one primary, a slot move (its copy is what the source has, or
an older state of it), and an old owner that has not heard and still takes calls by old passes.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping

from tests.sim.shard_model import World
from tests.sim.shard_parts import ACCOUNTS, RULES, Actor, Image, InvariantBroken, SimulatedServer

SHARDS = 2


class SimulatedNode:
    """A server of a cluster."""

    def __init__(self, name: str, off: frozenset[str]) -> None:
        self.name, self.off = name, off
        self.replid = self.config_epoch = 0
        self.master = False
        self.slots: set[int] = set()
        """Shards that it takes for its own."""
        self.published = (0, 0)
        """One for the whole node, as long as it was not under the tags of shards."""
        self.parts = [ShardPart(self, shard) for shard in range(SHARDS)]


class ShardPart(SimulatedServer):
    """What a node has of one shard."""

    def __init__(self, node: SimulatedNode, shard: int) -> None:
        self.node, self.shard = node, shard
        self.arrived = False
        """By a slot move, and not opened since."""
        self._published = (0, 0)
        super().__init__(node.name)

    @property
    def replid(self) -> int:
        return self.node.replid

    @replid.setter
    def replid(self, replid: int) -> None: ...

    @property
    def config_epoch(self) -> int:
        return self.node.config_epoch

    @config_epoch.setter
    def config_epoch(self, epoch: int) -> None: ...

    @property
    def master(self) -> bool:
        return self.node.master and self.shard in self.node.slots

    @master.setter
    def master(self, master: bool) -> None: ...

    @property
    def published(self) -> tuple[int, int]:
        return self._published if "shard_published" not in self.node.off else self.node.published

    @published.setter
    def published(self, published: tuple[int, int]) -> None:
        self._published = self.node.published = published
        if published[0] == self.replid:
            self.arrived = False

    def become(self, image: Image) -> None:
        whole = self.node.published
        super().become(image)
        self.node.published = whole


class ShardWorld(World):
    """One shard of a cluster."""

    def __init__(self, cluster: ClusterWorld, shard: int) -> None:
        self.cluster, self.shard = cluster, shard
        parts = [node.parts[shard] for node in cluster.nodes]
        self.answered: set[int] = set()
        """Durability replicated: requests that somebody was told of."""
        self.begin(cluster.random, cluster.off | cluster.faults.get(shard, frozenset()), parts, cluster.counts)
        self.open_now()

    def executed(self, request: int, server: SimulatedServer) -> None:
        """Without the rule any number of replicas is enough, none too."""
        if not self.rule("wait_replicas"):
            self.answered.add(request)

    def acknowledge(self, replica: ShardPart) -> None:
        """The replica has all that its primary had before: WAIT ends for these."""
        for account in replica.accounts.values():
            self.answered |= account.done

    def settle(self) -> None:
        super().settle()
        if self.cluster.replicated:
            there = {request for name in ACCOUNTS for request in self.pg.account(name).done}
            if lost := self.answered - there:
                raise InvariantBroken(f"answered under `replicated` and lost: {sorted(lost)}")

    def fail(self) -> None:
        self.cluster.fail()

    def rejoin(self) -> None:
        self.cluster.mend()

    def open_draw(self, opener: Actor) -> None:
        """Opener.open: what is published of another history is no more, whether or not the shard can be opened."""
        for part in self.masters():
            if part.published[0] != part.replid:
                part.published = (0, part.published[1])
                part.keep()
        super().open_draw(opener)

    def known_config_epoch(self) -> int:
        """Without the rule it was one for the whole store."""
        if self.rule("shard_config_epoch"):
            return self.pg.config_epoch
        return max((shard.pg.config_epoch for shard in self.cluster.shards), default=0)

    def moved(self, server: SimulatedServer) -> bool:
        assert isinstance(server, ShardPart)
        return server.arrived

    def owned_last(self) -> ShardPart:
        """Of all that claim the shard, who does so with the newest failover epoch."""
        masters = [part for part in self.masters() if isinstance(part, ShardPart)]
        return max(masters, key=lambda part: part.node.config_epoch)


class ClusterWorld:
    def __init__(
        self,
        seed: int,
        off: frozenset[str] = frozenset(),
        faults: Mapping[int, frozenset[str]] | None = None,
        *,
        replicated: bool = False,
    ) -> None:
        """
        faults:      rules that are forgotten for one shard alone
        replicated:  no server is wiped or put back, who gives a shard away knows it, and what was answered has to be
                     there at the end
        """
        self.random, self.off = random.Random(seed), off
        self.faults, self.replicated = faults or {}, replicated
        self.counts: dict[str, int] = {}
        self.replids = 0
        self.nodes = [SimulatedNode(name, off) for name in ("A", "a", "B", "b")]
        self.pairs = [self.nodes[:2], self.nodes[2:]]
        for number, (primary, replica) in enumerate(self.pairs):
            self.new_history(primary)
            primary.master, primary.config_epoch = True, number + 1
            primary.slots, replica.slots = {number}, {number}
            replica.config_epoch = primary.config_epoch
        self.shards: list[ShardWorld] = []
        for shard in range(SHARDS):
            self.shards.append(ShardWorld(self, shard))

    def rule(self, name: str) -> bool:
        assert name in RULES
        return name not in self.off

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def new_history(self, node: SimulatedNode) -> None:
        self.replids += 1
        node.replid = self.replids

    def newest(self) -> int:
        return max(node.config_epoch for node in self.nodes)

    # --- what goes wrong

    def fail(self) -> None:
        pair = self.random.choice(self.pairs)
        if self.replicated:
            kinds = [self.replicate, self.replicate, self.fail_over, self.rejoin, self.move, self.learn, self.learn]
            self.random.choice(kinds)(pair)
            for shard in self.shards:
                shard.cut()
            return
        self.random.choice(
            [self.replicate, self.replicate, self.fail_over, self.rejoin, self.go_back, self.wipe, self.move, self.move,
             self.learn, self.learn]
        )(pair)  # fmt: skip
        for shard in self.shards:
            shard.cut()

    def masters(self, pair: list[SimulatedNode]) -> list[SimulatedNode]:
        return [node for node in pair if node.master]

    def replicate(self, pair: list[SimulatedNode]) -> None:
        masters = self.masters(pair)
        if len(masters) == 1:
            source = masters[0]
            replica = next(node for node in pair if node is not source)
            replica.slots, replica.config_epoch = set(source.slots), source.config_epoch
            for mine, theirs in zip(replica.parts, source.parts, strict=True):
                mine.become(theirs.image() if self.replicated else self.random.choice(theirs.past))
                mine.arrived, mine.past = theirs.arrived, [mine.image()]
                if mine.shard in source.slots and len(self.shards) == SHARDS:
                    self.shards[mine.shard].acknowledge(mine)

    def fail_over(self, pair: list[SimulatedNode]) -> None:
        """The replica becomes master of what it takes for its primary's shards: nobody votes for one that would take a
        shard from a newer owner. The old primary lives on in its partition."""
        masters = self.masters(pair)
        if len(masters) == 1:
            replica = next(node for node in pair if node is not masters[0])
            replica.slots = {
                shard
                for shard in replica.slots & masters[0].slots
                if self.shards[shard].owned_last().node is masters[0]
            }
            replica.master, replica.config_epoch = True, self.newest() + 1
            self.new_history(replica)
            self.count("one primary failed over")

    def rejoin(self, pair: list[SimulatedNode]) -> None:
        masters = self.masters(pair)
        if len(masters) == 2:
            old, new = sorted(masters, key=lambda node: node.config_epoch)
            kept = {shard for shard in old.slots - new.slots if self.shards[shard].owned_last().node is old}
            for shard in kept:  # it came to the old one after the new one was promoted
                new.parts[shard].become(old.parts[shard].image())
                new.parts[shard].past, new.parts[shard].arrived = [new.parts[shard].image()], True
            new.slots |= kept
            old.master = False
            self.replicate(pair)

    def go_back(self, pair: list[SimulatedNode]) -> None:
        for node in self.masters(pair)[:1]:
            for part in node.parts:
                kept = self.random.randrange(len(part.past))
                part.become(part.past[kept])
                part.past = part.past[: kept + 1]
            self.new_history(node)

    def wipe(self, pair: list[SimulatedNode]) -> None:
        if len(self.masters(pair)) == 1 and self.random.random() < 0.5:
            node = self.masters(pair)[0]
            for part in node.parts:
                part.become(Image())
                part.past = [Image()]
            self.new_history(node)

    def move(self, pair: list[SimulatedNode]) -> None:
        """A shard from this pair to the other one. What arrives may lack the end: the source was failed over while it
        was copied. The old owner may not hear of it at once."""
        target = next(one for one in self.pairs if one is not pair)
        if len(self.masters(pair)) != 1 or len(self.masters(target)) != 1:
            return
        source, taker = self.masters(pair)[0], self.masters(target)[0]
        for shard in sorted(source.slots - taker.slots)[:1]:
            if self.shards[shard].owned_last().node is not source:
                continue
            if self.rule("moved_on") and source.parts[shard].arrived:
                continue
            part, arrives = source.parts[shard], taker.parts[shard]
            whole = self.random.random() < 0.5 or self.replicated
            arrives.become(part.image() if whole else self.random.choice(part.past))
            arrives.past, arrives.arrived = [arrives.image()], True
            taker.slots.add(shard)
            taker.config_epoch = self.newest() + 1
            if self.random.random() < 0.7 or self.replicated:
                self.lose(source, shard)
            self.count("moved")

    def lose(self, node: SimulatedNode, shard: int) -> None:
        node.slots.discard(shard)
        node.parts[shard].become(Image())
        node.parts[shard].past = [Image()]

    def learn(self, _pair: list[SimulatedNode]) -> None:
        """Who has a shard that belongs to a newer owner hears of it."""
        for shard in self.shards:
            if shard.masters():
                owner = shard.owned_last()
                for node in self.nodes:
                    if node not in self._pair(owner.node) and node.master and shard.shard in node.slots:
                        self.lose(node, shard.shard)

    def _pair(self, node: SimulatedNode) -> list[SimulatedNode]:
        return next(pair for pair in self.pairs if node in pair)

    def mend(self) -> None:
        for pair in self.pairs:
            self.rejoin(pair)
        self.learn([])
        for shard in self.shards:
            shard.cut()

    # --- a run

    def step(self) -> None:
        self.random.choice(self.shards).step()

    def settle(self) -> None:
        self.mend()
        for shard in self.shards:
            if len(shard.masters()) != 1:
                raise InvariantBroken(f"{len(shard.masters())} nodes have shard {shard.shard}")
            shard.settle()


def run(
    seed: int,
    off: frozenset[str] = frozenset(),
    faults: Mapping[int, frozenset[str]] | None = None,
    *,
    replicated: bool = False,
    steps: int = 300,
) -> dict[str, int]:
    """One walk; raises InvariantBroken. Returns how often what happened."""
    world = ClusterWorld(seed, off, faults, replicated=replicated)
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
