"""The pipelined connection of the hot path: hiredis, one write per loop turn, replies in order.

A connection carries calls of a shard only while its fence holds for it (fence.py): the server is a master, its
replid is the one published as open for that shard, and our functions are loaded. It is checked on connect, whenever it
is unverified, and every half second. Nothing is sent without it, so a refusal here is certain: `NotSent`. A call whose
reply was lost with the connection is sent once more, with the same key and the then current epoch, unless its deadline
has passed: then it is `Lost`. A reply that is only late is still waited for: its sender may want it (charging.md 11).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast

import hiredis

from balances import keys
from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.calls import (
    FenceQuestion,
    Lost,
    NotSent,
    RedisCall,
    ReplicaMark,
    ReplicaQuestion,
    Words,
    number_in,
    pack_words,
)
from balances.redis.fence import INFO, SHUT, TIME, Fence, Pass
from balances.redis.libraries import SAY_S, is_missing, is_there, look_for
from balances.redis.news import NewsTeller
from balances.redis.pending import Pending, ended
from balances.redis.replicas import NOBODY, ReplicaPromise
from balances.redis.scripts import LIBRARIES, LIBRARY, Library

CHECK_S: Final = 0.5
"""How often the fence is checked again: well below half of any failover time, and of the second in which a tariff
that is published is in force (`ask_too`)."""

UNVERIFIED_S: Final = 0.05
"""How often while there is none."""

REFUSES: Final = (
    *("READONLY", "MOVED", "ASK ", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"),
    *("OOM", "NOREPLICAS", "MISCONF", "BUSY"),
)
"""What a server says before it has executed anything: our first write is the record, and it is a denyoom command."""

TICK_S: Final = 0.1
"""How often calls on their way are looked at: which are too late."""

QUESTION_MS: Final = 10_000
"""The same of what the connection asks for itself; who waits for it gives up sooner."""

PATIENCE_S: Final = 5.0
"""For a connection to be made, and for the replies to a check: then it is given up."""
MEMBER_PATIENCE_S: Final = 2.0
"""The same of one primary of several: the others are not waited for, and its replica may take over soon."""

BUFFER_MAX: Final = 64 * 1024 * 1024
"""Bytes waiting to be written above which calls are refused: the server does not read."""


MARK: Final = """#!lua flags=allow-oom
return redis.call('SET', KEYS[1], '1')
"""
"""A plain SET is refused where memory is full, and settlements are answered there too."""


def _as_it_is(words: Words | bytes) -> Callable[[bytes], bytes]:
    """Packs a command that needs no epoch, if it is not packed yet."""
    if isinstance(words, bytes):
        return lambda _epoch: words
    return lambda _epoch: pack_words(words)


FindMaster = Callable[[], Awaitable[ServerPlace]]

REDIRECTIONS: Final = ("MOVED ", "ASK ", "TRYAGAIN")
"""What a server of a cluster says, before it has executed anything, of what is not, or not all, with it."""


class Membership(NamedTuple):
    """Of a connection to one primary of a cluster."""

    fence: Fence
    """Of the shards that it has."""
    command: Callable[..., RedisCall]
    """Sends what is of the cluster as a whole to who has its key."""
    redirected: Callable[[RedisConnection, RedisCall, str], None]
    """Is given a call with the redirection it was answered with; nothing of it was executed."""


class RedisConnection(asyncio.Protocol):
    """One connection to one server, kept up; see the module.

    now_ms:    the wall clock, to be compared with the server's
    unfenced:  take any master for open (tests of the scripts alone)
    replicas:  what they have of what a call wrote before its reply is given out (durability.md, `replicated`)
    find:      says where the server is, at each connect (sentinel_link.py); else it is the one that the URL names
    member:    of a cluster, with the fence of its shards; calls that are to go elsewhere are given back (router.py)
    """

    def __init__(
        self,
        url: str | StoreAddress,
        *,
        now_ms: Callable[[], int],
        answer_ms_max: int = 800,
        unfenced: bool = False,
        replicas: ReplicaPromise = NOBODY,
        find: FindMaster | None = None,
        member: Membership | None = None,
    ) -> None:
        self.address = StoreAddress(url) if isinstance(url, str) else url
        self._find, self._member = find, member
        self.place = self.address.places[0]
        """Where the server is, or was at the last connect."""
        self._promise, self._replicas = replicas, replicas.replicas
        self._held = deque[tuple[RedisCall, Any]]()
        """Replies that wait for the replicas."""
        self._marked, self._mark = True, 0
        """Whether our own write behind them was taken, and of which of its shards the next one is."""
        self._written = False
        """Calls were put since the replicas were asked last."""
        self._asking = False
        """They were asked, and the server has not said what they have: until then it reads nothing more of this
        connection. What is put meanwhile goes in one write, with one question behind it; written at once, each write
        would wait for the replicas by itself, one after the other."""
        self._patience_s = PATIENCE_S if member is None else MEMBER_PATIENCE_S
        self._answer_ms = answer_ms_max
        self.openings = 0
        """How often shards were found open under other epochs than before."""
        self._proved: Mapping[str, bytes] = {}
        self._fence = Fence(unfenced=unfenced) if member is None else member.fence
        self._take(Pass({}, None, "not connected yet"))
        self._asked_too: list[tuple[Sequence[tuple[str, ...]], Callable[[list[Any]], None]]] = []
        self.library = LIBRARY
        """What is called: the functions that write the stored format in force."""
        self._wanted = LIBRARY
        self.refused = ""
        """Why no call may ever be made from here; "" while that is not so."""
        self.clock_offset_ms = 0
        """Redis TIME minus ours, measured at each check."""
        self.lost: Counter[str] = Counter()
        """Calls of unknown fate, by script."""
        self._now_ms = now_ms
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._left = ""
        """Why this end aborts the connection; "" while it does not."""
        self._reader = hiredis.Reader()
        self._flying: deque[RedisCall] = deque()
        self._unverified: deque[RedisCall] = deque()
        self._out: list[bytes] = []
        self._flushing = False
        self._ticking = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._checked = asyncio.Event()
        self._stir = asyncio.Event()
        self._named_s = -math.inf
        """When the server was told last which library we use."""
        self.news = NewsTeller(partial(self.command, "PUBLISH"), self._loop.call_later)

    @property
    def open_shards(self) -> int:
        return len(self._epochs)

    @property
    def epochs(self) -> Mapping[str, bytes]:
        """Of each open shard, by its number as it stands in a tag (keys.NUMBERS). Another object where anything of it
        has changed."""
        return self._epochs

    def epoch_of(self, shard: int) -> bytes | None:
        """Under which epoch a shard is open, None while it is not."""
        return self._epochs.get(keys.NUMBERS[shard])

    def _take(self, found: Pass) -> None:
        """From here on calls are made as it allows."""
        if found.newest is not None and found.epochs != self._proved:
            self._proved = found.epochs
            self.openings += 1
        self._pass = found
        self._epochs = found.epochs
        self.epoch = found.newest
        """The newest epoch of an open shard, None while none is open."""
        self.why = found.why
        """Why shards are not open, "" when all are."""

    async def start(self, timeout_s: float | None = None) -> None:
        """Begin to connect, and wait for a fence (at most `timeout_s`; then go on trying)."""
        self.begin()
        try:
            async with asyncio.timeout(timeout_s):
                await self._checked.wait()
        except TimeoutError:
            pass

    def begin(self) -> None:
        """Connect, and keep connected."""
        self._task = asyncio.create_task(self._keep_up())

    async def stop(self) -> None:
        self._closed = True
        if self._task is not None:
            await ended((self._task,))
        if self._transport is not None:
            self._transport.close()
        self._drop("stopping")

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
        """FCALL with the epoch of the fence as its first argument; sent again after a cut only if `repeatable`."""
        names = tuple(names)
        number = names[0][keys.NUMBER_IN_TAG]
        head: Words = (len(names), *names)
        # By the library that is in force when it is sent, also when it is sent again.
        pack = lambda epoch: pack_words(("FCALL", self.library.functions[name], *head, epoch, *args))  # noqa: E731
        call = RedisCall(pack, decode, self._now_monotonic_ms(), self._answer_ms, name, number, repeatable=repeatable)
        epoch = self._epochs.get(number)
        if epoch is None:
            call.fail(NotSent(self.why))
        else:
            self.news.moved(number)
            self._send(call, epoch)
        return call

    def command(self, *words: str | bytes | int, decode: Callable[[Any], Any] | None = None) -> RedisCall:
        """Any other command that a repeat does no harm to. What belongs to a shard names it in its first key."""
        number = number_in(words)
        call = RedisCall(
            lambda _epoch: pack_words(words), decode, self._now_monotonic_ms(), self._answer_ms, None, number
        )
        epoch = self._epoch_for(number)
        if epoch is None:
            call.fail(NotSent(self.why))
        else:
            self._send(call, epoch)
        return call

    def _epoch_for(self, number: str) -> bytes | None:
        return self._epochs.get(number) if number else self.epoch

    def script_placed(
        self,
        name: str,
        names: Iterable[str],
        args: tuple[bytes, ...],
        decode: Callable[[Any], Any],
        place: tuple[str, str],
    ) -> Pending[Any]:
        """The same, with a key and its value that are there before anybody hears the reply: in the same write, before
        it."""
        self.command("SET", *place)
        return self.script(name, names, args, decode)

    def read_projected(self, names: Sequence[str]) -> Pending[Any]:
        """What these keys of the projection hold, and behind it the change number up to which all is projected, as of
        one instant."""
        return self.command("MGET", *names, keys.PROJECTED)

    @property
    def opened_ms(self) -> int:
        """When any shard was opened last: an epoch is no less than the second it began in. What was written before it
        may be gone."""
        return int(self.epoch or 0) * 1_000

    def ask_too(self, commands: Sequence[tuple[str, ...]], heard: Callable[[list[Any]], None]) -> None:
        """With each check of the fence, in the same write: `heard` gets the replies while it holds."""
        self._asked_too.append((commands, heard))

    def ask_each(self, command: tuple[str, ...], heard: Callable[[list[Any]], None]) -> None:
        """The same of every primary that there is: `heard` gets a reply of each."""
        self.ask_too((command,), heard)

    def write_format(self, stored: int) -> None:
        """From now on call the functions that write this stored format; for who heard it with a check of the fence."""
        self._wanted = LIBRARIES[stored]

    def refuse(self, why: str) -> None:
        """Make no call from now on, for ever: what is stored cannot be read by this build."""
        self.refused = why
        self._lose_fence(why)

    def look(self) -> None:
        """Check the fence now. Of a process that is awake anyway: then it need not be woken for the check."""
        if self.epoch is not None:
            self._stir.set()

    def oldest_us(self) -> int:
        """How long the call that was sent first of those without a reply has been waiting."""
        return (self._now_monotonic_ms() - self._flying[0].sent_ms) * 1_000 if self._flying else 0

    def _now_monotonic_ms(self) -> int:
        return int(self._loop.time() * 1_000)

    # --- one primary of several -----------------------------------------------------------------------------------

    @property
    def shards(self) -> tuple[int, ...]:
        return self._fence.shards

    def own(self, shards: Sequence[int]) -> list[RedisCall]:
        """From now on its server has these shards. Returns the calls of others that have no reply yet: nothing that
        this server says to them counts any more, for it may be a primary that others have replaced."""
        assert self._member is not None
        self._member.fence.own(shards)
        numbers = {keys.NUMBERS[shard] for shard in shards}
        kept = {number: epoch for number, epoch in self._epochs.items() if number in numbers}
        if kept:
            self._take(Pass.of(kept, SHUT))
        else:
            self._lose_fence(SHUT)
        self._stir.set()
        gone: list[RedisCall] = []
        held, self._held = self._held, deque()
        for call, reply in held:
            if call.number and call.number not in numbers and not call.settled:
                call.was_cut = True
                gone.append(call)
            else:
                self._held.append((call, reply))
        flying, self._flying = self._flying, deque()
        for call in flying:
            if call.number and call.number not in numbers and not call.settled:
                call.was_cut = True
                gone.append(call)
                self._flying.append(FenceQuestion(call.pack, None, call.sent_ms, 0, None, ""))  # its reply is dropped
            else:
                self._flying.append(call)
        waiting, self._unverified = self._unverified, deque()
        for call in waiting:
            (gone if call.number and call.number not in numbers else self._unverified).append(call)
        return gone

    def take_over(self, call: RedisCall) -> None:
        """A call that another server did not take, or whose reply is not worth anything any more."""
        if not call.settled:
            self._unverified.append(call)
            self._keep_time()
            if self._checked.is_set():
                self._send_again()
            self._stir.set()

    def send_asking(self, call: RedisCall) -> bool:
        """Send it with ASKING, in one write, for a key that is on its way here; False where the fence does not hold."""
        epoch = self._epoch_for(call.number)
        if epoch is None:
            return False
        self._put(FenceQuestion(_as_it_is(("ASKING",)), None, call.sent_ms, QUESTION_MS, None, ""), b"")
        self._send(call, epoch)
        return True

    def _keep_time(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)

    def _send(self, call: RedisCall, epoch: bytes) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)
        self._written = True
        self._put(call, epoch)

    def _put(self, call: RedisCall, epoch: bytes) -> None:
        self._flying.append(call)
        self._out.append(call.pack(epoch))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None:  # what was to be written was taken back when it ended
            return
        if self._asking:
            return
        if self._replicas and self._written:
            self._ask_replicas()
        out, self._out = self._out, []
        if out:
            self._transport.write(b"".join(out))
            if self._transport.get_write_buffer_size() > BUFFER_MAX:
                self._transport.abort()

    def _ask_replicas(self) -> None:
        """Behind all calls of this write: whether the replicas have them. They count from the last write of this very
        connection, and a repeat writes nothing whose first try another worker sent: so there is a write of our own."""
        self._written, self._asking = False, True
        if shards := self._fence.shards:
            self._ask_beside(ReplicaMark, "EVAL", MARK, 1, keys.replicated(shards[self._mark % len(shards)]))
        *before, last = self._promise.questions(self._answer_ms)
        for words in before:
            self._ask_beside(FenceQuestion, *words)
        self._ask_beside(ReplicaQuestion, *last)

    def _ask_beside(self, kind: type[FenceQuestion], *words: str | int) -> None:
        self._flying.append(kind(_as_it_is(words), None, self._now_monotonic_ms(), QUESTION_MS, None, ""))
        self._out.append(pack_words(words))

    def _hold(self, call: RedisCall, reply: Any) -> None:
        """Until the replicas have what it wrote. If they do not in time, nobody knows what will be left of it."""
        if isinstance(call, ReplicaQuestion):
            self._release(self._promise.unmet(reply))
        elif isinstance(call, FenceQuestion):
            call.resolve(reply)
        else:
            self._held.append((call, reply))

    def _release(self, unmet: str) -> None:
        self._asking = False
        if self._out and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        held, self._held = self._held, deque()
        if not self._marked:  # then they were asked for an older write
            self._marked, unmet = True, "nobody knows whether replicas have it"
        for call, reply in held:
            if unmet:
                self.lose(call, unmet)
            elif call.decode is not None and not call.settled:
                call.resolve(call.decode(reply))
            else:
                call.resolve(reply)

    # --- replies ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are not of that class
        self._reader = hiredis.Reader()

    def data_received(self, data: bytes) -> None:
        reader, flying = self._reader, self._flying
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            call = flying.popleft()
            if isinstance(reply, hiredis.ReplyError):
                self._refused(call, reply)
            elif self._replicas:
                self._hold(call, reply)
            elif call.decode is not None and not call.settled:
                call.resolve(call.decode(reply))
            else:
                call.resolve(reply)

    def _refused(self, call: RedisCall, error: hiredis.ReplyError) -> None:
        words = str(error)
        if isinstance(call, ReplicaQuestion):
            self._release(words)
        elif isinstance(call, ReplicaMark):  # its slot may be on the way to another server: another one is taken
            self._marked = False
            self._mark += 1
        elif isinstance(call, FenceQuestion):
            call.fail(error)
        elif call.script is not None and is_missing(error):
            # Usually a new server behind the same address: not executed, so it may wait for the next check.
            self._lose_fence("the server lost our functions")
            if call.repeatable:
                call.again = False
                self._unverified.append(call)
            else:
                call.fail(NotSent(self.why))
        elif self._member is not None and words.startswith(REDIRECTIONS):
            self._member.redirected(self, call, words)
        elif words.startswith(REFUSES):
            if not words.startswith(("OOM", "NOREPLICAS", "MISCONF", "BUSY")):
                self._lose_fence(words)
            # Not executed now; but what was cut off once may have been executed then.
            if call.was_cut:
                self.lose(call, words)
            elif words.startswith("OOM") and call.decode is not None and call.script is not None:
                call.resolve(call.decode([b"full"]))
            else:
                call.fail(NotSent(words))
        else:
            call.fail(error)

    def lose(self, call: RedisCall, why: str) -> None:
        if not call.settled:
            self.lost[call.script or "command"] += 1
            call.fail(Lost(why))

    def give_up(self, call: RedisCall, why: str) -> None:
        """It waited in vain for being sent again."""
        if call.was_cut:
            self.lose(call, why)
        elif not call.settled:
            call.fail(NotSent(self.why or why))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        why, self._left = self._left or "connection to Redis lost", ""
        self._lose_fence(why)
        for call in (*(held for held, _ in self._held), *self._flying):
            call.was_cut = True
            if isinstance(call, FenceQuestion):
                call.fail(ConnectionError("connection lost"))  # nobody is to wait for it any longer
            elif not call.settled:
                self._unverified.append(call)
        self._held.clear()
        self._flying.clear()
        self._out.clear()
        self._written, self._marked, self._asking = False, True, False

    def _lose_fence(self, why: str) -> None:
        """No fence from here on; what had one is checked at once."""
        if self.epoch is not None or self._transport is None:
            self._stir.set()
        self._take(Pass({}, None, why))
        self._checked.clear()

    def leave(self, why: str) -> None:
        """Its server is to be called no more: connect anew, to where one is found then."""
        self._lose_fence(why)
        if self._transport is not None:
            self._left = why
            self._transport.abort()

    def _drop(self, why: str) -> None:
        for call in (*(held for held, _ in self._held), *self._flying):
            self.lose(call, why)
        self._held.clear()
        for call in self._unverified:
            self.give_up(call, why)
        self._flying.clear()
        self._unverified.clear()

    # --- the fence -----------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        pause_ms = 20
        while not self._closed:
            try:
                await self._connect()
                await self._check()
                pause_ms = 20
                while self._transport is not None:
                    try:
                        async with asyncio.timeout(CHECK_S if self.epoch else UNVERIFIED_S):
                            await self._stir.wait()
                    except TimeoutError:
                        pass
                    self._stir.clear()
                    if self._transport is not None:
                        await self._check()
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                self.leave(f"Redis cannot be reached: {error}{self._meant(error)}")
            self._expire()
            await asyncio.sleep(pause_ms * 0.001)
            pause_ms = min(pause_ms * 2, 500)

    def _meant(self, error: BaseException) -> str:
        """What the address should have been, where the server is of another kind than it says."""
        of_a_cluster = self._member is None and str(error).startswith(("MOVED", "CROSSSLOT", "CLUSTERDOWN"))
        return " (it is a node of a cluster: use redis+cluster://)" if of_a_cluster else ""

    async def _connect(self) -> None:
        loop, address = self._loop, self.address
        place = self.place = address.places[0] if self._find is None else await self._find()
        connect = (
            loop.create_unix_connection(lambda: self, place.socket)
            if place.socket
            else loop.create_connection(lambda: self, place.host, place.port, ssl=address.tls)
        )
        async with asyncio.timeout(self._patience_s):
            await connect
        for words in address.hello():
            await self._ask(*words)

    async def _ask(self, *words: str | bytes) -> Any:
        return (await self._ask_all([words]))[0]

    async def _ask_all(self, commands: Sequence[Words | bytes], *, must: int = 1) -> list[Any]:
        """Several, in one write and one answer; bytes: packed. What any but the first `must` are refused with stands in
        the answer."""
        if self._transport is None:
            raise ConnectionError("connection lost")
        sent_ms = self._now_monotonic_ms()
        calls = [FenceQuestion(_as_it_is(words), None, sent_ms, QUESTION_MS, None, "") for words in commands]
        for call in calls:
            self._put(call, b"")  # the time they have is looked at here
        replies: list[Any] = []
        async with asyncio.timeout(self._patience_s):
            for call in calls:
                try:
                    replies.append(await call.wait())
                except hiredis.ReplyError as refused:
                    if len(replies) < must:
                        raise
                    replies.append(refused)
        return replies

    async def _check(self) -> None:
        """Which shards are open here? Take or give up the fence accordingly."""
        began_ms = self._now_ms()
        asked_too, questions = list(self._asked_too), self._fence.questions
        asked: list[Words | bytes] = [
            INFO,
            TIME,
            *self._fence.packed,
            *(words for some, _ in asked_too for words in some),
        ]
        # A primary of a cluster may refuse what it says of one shard; a plain store has all, or is not ready (LOADING).
        info, now, *replies = await self._ask_all(asked, must=len(asked) if self._member is None else 2)
        self.clock_offset_ms = int(now[0]) * 1000 + int(now[1]) // 1000 - (began_ms + self._now_ms()) // 2
        if self.refused:
            self._lose_fence(self.refused)
            return
        if questions is not self._fence.questions:  # it has got other shards meanwhile
            self._stir.set()
            return
        found = self._fence.judge(info, replies[: len(questions)])
        if found.newest is None:
            self._lose_fence(found.why)
            return
        if found is not self._pass:
            await self._load(self.library)
            if questions is not self._fence.questions:
                self._stir.set()
                return
            self._take(found)
        self._name_library(int(now[0]))
        more = replies[len(questions) :]
        for commands, heard in asked_too:
            heard(more[: len(commands)])
            del more[: len(commands)]
        if self._wanted is not self.library:
            await self._change_to(self._wanted)
        if self.epoch is not None:
            self._checked.set()
            self._send_again()

    async def _change_to(self, library: Library) -> None:
        """Call this one from now on, once it is there. A server that is full may refuse it: then the next check tries
        again, and what is written meanwhile is read by all as well."""
        with contextlib.suppress(hiredis.ReplyError):
            await self._load(library)
            self.library = library

    async def _load(self, library: Library) -> None:
        """One of ours, if the server lacks it (libraries.py)."""
        if not await self._ask(*look_for(library)):
            try:
                await self._ask("FUNCTION", "LOAD", library.text)
            except hiredis.ReplyError as error:
                if not is_there(error):
                    raise
        self._named_s = -math.inf

    def _name_library(self, server_s: int) -> None:
        """Say that it is used, now and again. Nobody waits for it: a server that is full takes no note of it."""
        now_s = self._loop.time()
        if now_s - self._named_s >= SAY_S:
            self._named_s = now_s
            command = self.command if self._member is None else self._member.command
            command("ZADD", keys.LIBRARIES, "GT", server_s * 1_000, self.library.name)

    def _send_again(self) -> None:
        now, waiting = self._now_monotonic_ms(), self._unverified
        self._unverified = deque()
        for call in waiting:
            epoch = self._epoch_for(call.number)
            if call.settled:
                continue
            if call.deadline < now or (call.again and call.was_cut):
                self.give_up(call, "reply lost")
            elif epoch is None:
                self._unverified.append(call)
            else:
                call.again = call.again or call.was_cut
                self._send(call, epoch)

    def _tick(self) -> None:
        """Beside the checks, which wait for the same server; again while a call is on its way."""
        self._expire()
        self._ticking = bool(self._flying or self._unverified) and not self._closed
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)

    def _expire(self) -> None:
        """Calls without a reply in time: their fate is unknown. Their replies, if they come, are dropped."""
        now = self._now_monotonic_ms()
        for call in self._unverified:
            if call.deadline < now and not call.settled:
                self.give_up(call, "the connection was cut, and there was no other in time")
        for call in (*(held for held, _ in self._held), *self._flying):
            if call.wanted_until < now and not call.settled:
                self.lose(call, "no reply in time")
