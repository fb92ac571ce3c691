"""The hot path in a cluster: one connection to each primary, and above them who gets which call.

Each connection has the fence of its own shards (fence.py), so a primary that fails, hangs or is replaced shuts its
shards and no others. Who has which slot is asked every other second, and at once when a server redirects a call
(topology.py). What is redirected was not executed: it goes to who has its slot, under the fence there, within its time.
A call whose primary lost the shard while it was on its way counts as cut off, and what that server says of it later
counts nothing: it may be a primary that the others have replaced.

Calls of one shard are sent in order. A function touches one shard, so no call has keys of two slots.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from balances import keys
from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.calls import NotSent, RedisCall, number_in
from balances.redis.connection import CHECK_S, Membership, RedisConnection
from balances.redis.fence import Fence
from balances.redis.news import NewsTeller
from balances.redis.pending import Pending, ended
from balances.redis.replicas import NOBODY, ReplicaPromise
from balances.redis.topology import SHARD_SLOTS, SLOTS, Topology, TopologyWatch, slot_of

POLL_S: Final = 2.0
"""How often one node is asked who has which slot, while all shards are open."""
SHUT_POLL_S: Final = 0.5
"""The same while one is not: a failover may be going on."""
AGAIN_S: Final = 0.02
"""After TRYAGAIN: keys of the call are on both sides of a move."""
PLACE_PARTS: Final = 4
"""This part of the time that an answer has may be waited for the place of a session."""
OWED_MAX: Final = 20_000
"""Places of sessions that could not be written at once."""
OWED_AT_ONCE: Final = 2_000


class ClusterLink:
    """`RedisConnection` for a cluster: see there what each method does."""

    def __init__(
        self,
        url: str | StoreAddress,
        *,
        now_ms: Callable[[], int],
        answer_ms_max: int = 800,
        unfenced: bool = False,
        replicas: ReplicaPromise = NOBODY,
    ) -> None:
        self.address = StoreAddress(url) if isinstance(url, str) else url
        self.lost: Counter[str] = Counter()
        self._now_ms, self._answer_ms, self._unfenced = now_ms, answer_ms_max, unfenced
        self._replicas = replicas
        self._loop = asyncio.get_running_loop()
        self._watch = TopologyWatch(self.address)
        self._topology = Topology()
        self._strayed = False
        """A server said where a slot is now, and the whole was not looked at quietly since."""
        self._links: dict[ServerPlace, RedisConnection] = {}
        self._of_number: dict[str, RedisConnection] = {}
        self._of_slot: list[RedisConnection | None] = [None] * SLOTS
        self._trouble = "no node of the cluster has answered yet"
        self._stir = asyncio.Event()
        self._known = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: set[asyncio.Task[None]] = set()
        self._asked_too: list[tuple[Sequence[tuple[str, ...]], Callable[[list[Any]], None]]] = []
        self._asked_each: list[tuple[tuple[str, ...], Callable[[list[Any]], None]]] = []
        self._stored: int | None = None
        """The stored format that is written; None: not heard yet."""
        self.refused = ""
        """Why no call may ever be made from here."""
        self._look_too = asyncio.Event()
        self._owed: OrderedDict[str, str] = OrderedDict()
        self._merged: tuple[list[Mapping[str, bytes]], Mapping[str, bytes]] = ([], {})
        self.news = NewsTeller(partial(self.command, "PUBLISH"), self._loop.call_later)

    # --- what is known ------------------------------------------------------------------------------------------

    @property
    def epochs(self) -> Mapping[str, bytes]:
        parts, merged = self._merged
        now = [link.epochs for link in self._links.values()]
        if len(now) != len(parts) or any(one is not other for one, other in zip(now, parts, strict=True)):
            merged = {number: epoch for part in now for number, epoch in part.items()}
            self._merged = now, merged
        return merged

    @property
    def epoch(self) -> bytes | None:
        return max(self.epochs.values(), key=int, default=None)

    @property
    def open_shards(self) -> int:
        return sum(link.open_shards for link in self._links.values())

    @property
    def opened_ms(self) -> int:
        """Now: what a session was placed with lies on another primary than its account, and may be gone although the
        session is not. So PostgreSQL is always asked for what is not found."""
        return self._now_ms()

    @property
    def why(self) -> str:
        troubles = [f"{place}: {link.why}" for place, link in self._links.items() if link.why]
        return "; ".join(([self._trouble] if self._trouble else []) + troubles)

    @property
    def clock_offset_ms(self) -> int:
        """Of the primary that is furthest off."""
        return max((link.clock_offset_ms for link in self._links.values() if link.epoch), key=abs, default=0)

    def epoch_of(self, shard: int) -> bytes | None:
        link = self._of_number.get(keys.NUMBERS[shard])
        return None if link is None else link.epoch_of(shard)

    def oldest_us(self) -> int:
        """Of primaries that answer: who waits for one that hangs is no reason to admit nobody."""
        return max((link.oldest_us() for link in self._links.values() if link.epoch is not None), default=0)

    # --- calls --------------------------------------------------------------------------------------------------

    def script(
        self,
        name: str,
        names: Iterable[str],
        args: tuple[bytes, ...],
        decode: Callable[[Any], Any],
        *,
        repeatable: bool = True,
    ) -> RedisCall:
        names = tuple(names)
        link = self._of_number.get(names[0][keys.NUMBER_IN_TAG])
        if link is None:
            return self._not_sent(name, decode)
        return link.script(name, names, args, decode, repeatable=repeatable)

    def command(self, *words: str | bytes | int, decode: Callable[[Any], Any] | None = None) -> RedisCall:
        """With its first key; the others, if any, have to be in the same slot. PUBLISH reaches all nodes from any."""
        link = self._link_for(words)
        return self._not_sent(None, decode) if link is None else link.command(*words, decode=decode)

    def script_placed(
        self,
        name: str,
        names: Iterable[str],
        args: tuple[bytes, ...],
        decode: Callable[[Any], Any],
        place: tuple[str, str],
    ) -> Pending[Any]:
        """The place lies on another primary. The reply waits for both, and for a primary that does not take the place
        only a little: then the place is owed to it (`_pay`), and whoever asks for it meanwhile is
        told by PostgreSQL (`opened_ms`)."""
        key, value = place
        placing = self.command("SET", *place)
        call = self.script(name, names, args, decode)
        if call.settled:
            return call
        self._owed.pop(key, None)
        both = Pending[Any]()

        def placed(_reply: Any, error: BaseException | None) -> None:
            if error is not None:
                self._owe(key, value)
            if call.settled:
                call.then(settle)

        def called(reply: Any, error: BaseException | None) -> None:
            if placing.settled or error is not None:
                settle(reply, error)
            else:
                self._loop.call_later(self._answer_ms * 0.001 / PLACE_PARTS, late)

        def late() -> None:
            if not both.settled:
                self._owe(key, value)
                call.then(settle)

        def settle(reply: Any, error: BaseException | None) -> None:
            if error is None:
                both.resolve(reply)
            else:
                both.fail(error)

        call.then(called)
        placing.then(placed)
        return both

    def read_projected(self, names: Sequence[str]) -> Pending[Any]:
        """Of no one instant: with each key, in the same write and before it, the mark that its own primary has is read.
        What is not there was not projected up to the mark: a primary that lost its last writes lost the mark too."""
        found = Pending[Any]()
        calls: list[RedisCall] = []
        for name in names:
            link = self._link_for(("GET", name))
            mark = None if link is None else self._mark_at(link)
            calls += [self.command("GET", mark) if mark else self._not_sent(None, None), self.command("GET", name)]

        def read(_reply: Any, error: BaseException | None) -> None:
            if error is not None:
                found.fail(error)
            elif not found.settled and all(call.settled for call in calls):
                replies = [call.value for call in calls]
                marks = replies[::2]
                found.resolve([*replies[1::2], None if None in marks else min(marks, key=int)])

        for call in calls:
            call.then(read)
        return found

    def _mark_at(self, link: RedisConnection) -> str | None:
        """The mark of an open shard there."""
        number = next(iter(link.epochs), None)
        return None if number is None else keys.projected(int(number))

    def _link_for(self, words: Sequence[Any]) -> RedisConnection | None:
        if len(words) == 1 or words[0] == "PUBLISH":
            return next((link for link in self._links.values() if link.epoch is not None), None)
        number = number_in(tuple(words))
        if number:
            return self._of_number.get(number)
        key = words[1]
        return self._of_slot[slot_of(key if isinstance(key, bytes) else str(key).encode())]

    def _not_sent(self, script: str | None, decode: Callable[[Any], Any] | None) -> RedisCall:
        call = RedisCall(lambda _epoch: b"", decode, 0, 0, script, "")
        call.fail(NotSent(self.why or "no primary of the cluster has this slot"))
        return call

    # --- places that are owed -----------------------------------------------------------------------------------

    def _owe(self, key: str, value: str) -> None:
        self._owed[key] = value
        self._owed.move_to_end(key)
        if len(self._owed) > OWED_MAX:
            self._owed.popitem(last=False)

    def _pay(self) -> None:
        """Write what can be written now; what fails is owed again."""
        for key in list(self._owed)[:OWED_AT_ONCE]:
            link = self._link_for(("SET", key))
            if link is None or link.epoch is None:
                self._owed.move_to_end(key)
                continue
            value = self._owed.pop(key)
            link.command("SET", key, value).then(partial(self._paid, key, value))

    def _paid(self, key: str, value: str, _reply: Any, error: BaseException | None) -> None:
        if error is not None and key not in self._owed:
            self._owe(key, value)

    # --- beside the calls ---------------------------------------------------------------------------------------

    def ask_too(self, commands: Sequence[tuple[str, ...]], heard: Callable[[list[Any]], None]) -> None:
        self._asked_too.append((commands, heard))

    def ask_each(self, command: tuple[str, ...], heard: Callable[[list[Any]], None]) -> None:
        self._asked_each.append((command, heard))

    def write_format(self, stored: int) -> None:
        self._stored = stored
        for link in self._links.values():
            link.write_format(stored)

    def refuse(self, why: str) -> None:
        self.refused = why
        for link in self._links.values():
            link.refuse(why)

    def look(self) -> None:
        for link in self._links.values():
            link.look()
        self._look_too.set()

    async def _ask(self) -> None:
        """Again and again, as often as the fences are checked."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._look_too.wait()
            self._look_too.clear()
            for commands, heard in self._asked_too:
                _gather([self.command(*words) for words in commands], heard)
            for command, heard in self._asked_each:
                _gather([link.command(*command) for link in self._links.values() if link.epoch is not None], heard)

    # --- who has what -------------------------------------------------------------------------------------------

    async def start(self, timeout_s: float | None = None) -> None:
        self._tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._ask())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._known.wait()
                while self.open_shards < keys.SHARDS:  # noqa: ASYNC110  each connection has an event of its own
                    await asyncio.sleep(0.01)

    async def stop(self) -> None:
        await ended(self._tasks)
        await asyncio.gather(*(link.stop() for link in self._links.values()), *self._stopping)
        await self._watch.close()

    async def _keep_up(self) -> None:
        redirected = False
        while True:
            try:
                new = await (self._watch.look_at_all() if redirected else self._watch.look())
                self._trouble = ""
                if new is not self._topology or (self._strayed and not redirected):
                    self._strayed = False
                    self._follow(new)
                self._known.set()
            except OSError as why:
                self._trouble = str(why)
            self._pay()
            redirected = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUT_POLL_S if self._owed or self.open_shards < keys.SHARDS else POLL_S):
                    await self._stir.wait()
                    redirected = True
            self._stir.clear()

    def _follow(self, new: Topology) -> None:
        """Connections as the cluster is now; calls that are on their way elsewhere come along."""
        self._topology = new
        self._of_slot = [None if place is None else self._link_at(place) for place in new.owners]
        moved: list[RedisCall] = []
        for place, link in list(self._links.items()):
            moved += self._own(link, new.shards_of(place) if place in new.places else ())
            if place not in new.places:
                del self._links[place]
                task = asyncio.create_task(link.stop())
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)
        self._of_number = {
            keys.NUMBERS[shard]: owner
            for shard, slot in enumerate(SHARD_SLOTS)
            if (owner := self._of_slot[slot]) is not None
        }
        for call in moved:
            self._hand_over(call)

    def _own(self, link: RedisConnection, shards: Sequence[int]) -> list[RedisCall]:
        return link.own(shards) if tuple(shards) != link.shards else []

    def _hand_over(self, call: RedisCall) -> None:
        link = self._of_number.get(call.number)
        if link is None:
            call.fail(NotSent("no primary of the cluster has this shard")) if not call.was_cut else self._lose(call)
        else:
            link.take_over(call)

    def _lose(self, call: RedisCall) -> None:
        next(iter(self._links.values())).lose(call, "its primary is gone")

    def _link_at(self, place: ServerPlace) -> RedisConnection:
        link = self._links.get(place)
        if link is None:
            link = self._links[place] = RedisConnection(
                self.address,
                now_ms=self._now_ms,
                answer_ms_max=self._answer_ms,
                replicas=self._replicas,
                find=partial(_at, place),
                member=Membership(Fence((), together=False, unfenced=self._unfenced), self.command, self._redirected),
            )
            link.lost, link.news, link.refused = self.lost, self.news, self.refused
            if self._stored is not None:
                link.write_format(self._stored)
            link.begin()
        return link

    # --- redirections -------------------------------------------------------------------------------------------

    def _redirected(self, link: RedisConnection, call: RedisCall, words: str) -> None:
        if call.settled:
            return
        if call.deadline < int(self._loop.time() * 1_000):
            link.give_up(call, words)
            return
        kind, *more = words.split(" ")
        if kind == "TRYAGAIN":
            self._loop.call_later(AGAIN_S, partial(self._try_again, link, call))
            return
        try:
            slot, place = int(more[0]), ServerPlace.said(more[1], link.place)
        except (IndexError, ValueError):
            link.give_up(call, words)
            return
        if kind == "ASK":
            if not self._link_at(place).send_asking(call):
                self._loop.call_later(AGAIN_S, partial(self._try_again, link, call))
            return
        self._moved(slot, self._link_at(place))
        self._stir.set()
        target = self._of_slot[slot]
        assert target is not None
        # The first redirection of a call is followed at once; two nodes that send it to and fro are not followed fast.
        if call.hops:
            self._loop.call_later(AGAIN_S, partial(self._try_again, target, call))
        else:
            target.take_over(call)
        call.hops += 1

    def _moved(self, slot: int, to: RedisConnection) -> None:
        """One slot has moved, as a server says; the whole is looked at right after. Where that says nothing new, the
        server was behind, and what it said is taken back at the next look."""
        self._strayed = True
        self._of_slot[slot] = to
        shards = [shard for shard, of in enumerate(SHARD_SLOTS) if of == slot]
        for shard in shards:
            number = keys.NUMBERS[shard]
            before = self._of_number.get(number)
            self._of_number[number] = to
            if before is not None and before is not to:
                for call in before.own([one for one in before.shards if one != shard]):
                    to.take_over(call)
            if shard not in to.shards:
                for call in to.own([*to.shards, shard]):
                    self._hand_over(call)

    def _try_again(self, link: RedisConnection, call: RedisCall) -> None:
        (self._of_number.get(call.number, link) if call.number else link).take_over(call)


async def _at(place: ServerPlace) -> ServerPlace:
    return place


def _gather(calls: Sequence[RedisCall], heard: Callable[[list[Any]], None]) -> None:
    """`heard` gets all replies, once all are there; nothing where one fails."""
    replies: list[Any] = []

    def one(reply: Any, error: BaseException | None) -> None:
        if error is None:
            replies.append(reply)
            if len(replies) == len(calls):
                heard([call.value for call in calls])

    for call in calls:
        call.then(one)
