"""Who gets which call in a cluster whose nodes say what a test has them say (redis.io "Cluster specification")."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import hiredis
import pytest

from balances import keys
from balances.ledger.reader import STORE_AWAY
from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.calls import Lost, NotSent, RedisCall
from balances.redis.clients import listening, slow_client
from balances.redis.connection import RedisConnection
from balances.redis.replicas import ReplicaPromise
from balances.redis.router import ClusterLink
from balances.redis.topology import SHARD_SLOTS, SLOTS, Topology, TopologyWatch, claims_of, slot_of

SHARD = 3
NAMES = ("{s003}:acct:a", "{s003}:due", "{s003}:ledger")
SLOT = SHARD_SLOTS[SHARD]

Answer = bytes | None
"""What a node writes back; None: nothing, it hangs."""


def bulk(text: str | bytes | None) -> bytes:
    if text is None:
        return b"$-1\r\n"
    data = text.encode() if isinstance(text, str) else text
    return b"$%d\r\n%s\r\n" % (len(data), data)


def array(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(parts)


class FakeNode(asyncio.Protocol):
    """A node of a `FakeCluster`: what it is `asked`, and what it answers to calls by `on`."""

    def __init__(self, cluster: FakeCluster, number: int) -> None:
        self.number, self._cluster = number, cluster
        self.epochs = dict.fromkeys(range(keys.SHARDS), 5)
        """Of the shards that are published for this node's history."""
        self.asked: list[tuple[str, ...]] = []
        self.writes: list[list[str]] = []
        """The names of the commands that came in one piece."""
        self.on: Callable[[tuple[str, ...]], Answer | type[ConnectionError]] = lambda _words: array(bulk("ok"))
        self.is_frozen = False
        self.late: list[asyncio.Transport] = []

    async def listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Session(self), "127.0.0.1", 0)
        self.place = ServerPlace("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._server.close()

    def calls(self, name: str = "FCALL") -> list[tuple[str, ...]]:
        return [words for words in self.asked if words[0] == name]

    def answer(self, words: tuple[str, ...]) -> Answer | type[ConnectionError]:
        match words[0], words[1:2]:
            case "INFO", _:
                return bulk(f"role:master\r\nmaster_replid:node{self.number}\r\n")
            case "TIME", _:
                return array(bulk("1700000000"), bulk("0"))
            case "FUNCTION", _:
                return array(bulk("it is there"))
            case "ZADD" | "CLIENT", _:
                return b":1\r\n"
            case "CLUSTER", ("SLOTS",):
                return array(*self._cluster.slots())
            case "CLUSTER", ("NODES",):
                return bulk(self._cluster.nodes())
            case "GET", (key,) if key.endswith(":published"):
                epoch = self.epochs.get(int(key[keys.NUMBER_IN_TAG]))
                return bulk(None if epoch is None else f"node{self.number} {epoch}")
            case "ASKING", _:
                return b"+OK\r\n"
        return self.on(words)


class _Session(asyncio.Protocol):
    def __init__(self, node: FakeNode) -> None:
        self._node, self._reader = node, hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        piece: list[str] = []
        while (command := self._reader.gets()) is not False:
            words = tuple(word.decode("utf-8", "replace") for word in command)
            piece.append(words[0])
            self._node.asked.append(words)
            answer = None if self._node.is_frozen else self._node.answer(words)
            if answer is ConnectionError:
                self._transport.abort()
            elif isinstance(answer, bytes):
                self._transport.write(answer)
            else:
                self._node.late.append(self._transport)
        self._node.writes.append(piece)


class FakeCluster:
    """Two nodes; each has the slots that `owner` says."""

    def __init__(self) -> None:
        self.first, self.second = FakeNode(self, 0), FakeNode(self, 1)
        self.halves = [(0, SLOTS // 2 - 1, self.first), (SLOTS // 2, SLOTS - 1, self.second)]
        self.epochs = {0: 1, 1: 2}

    def give_all_to(self, node: FakeNode) -> None:
        self.halves = [(0, SLOTS - 1, node)]
        self.epochs[node.number] = max(self.epochs.values()) + 1

    def owner(self, slot: int) -> FakeNode:
        return next(node for first, last, node in self.halves if first <= slot <= last)

    def slots(self) -> Iterator[bytes]:
        for first, last, node in self.halves:
            primary = array(bulk("127.0.0.1"), b":%d\r\n" % node.place.port, bulk(f"id{node.number}"))
            yield array(b":%d\r\n" % first, b":%d\r\n" % last, primary)

    def nodes(self) -> str:
        return "".join(
            f"id{node.number} {node.place}@1 master - 0 0 {self.epochs[node.number]} connected 0-1\n"
            for node in (self.first, self.second)
        )


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    made = FakeCluster()
    for node in (made.first, made.second):
        await node.listen()
    yield made
    for node in (made.first, made.second):
        node.close()


@pytest.fixture
async def link(cluster: FakeCluster) -> AsyncIterator[ClusterLink]:
    made = ClusterLink(f"redis+cluster://{cluster.first.place}", now_ms=lambda: 1_700_000_000_000)
    await made.start(30)
    assert made.open_shards == keys.SHARDS
    yield made
    await made.stop()


@pytest.fixture
def here(cluster: FakeCluster) -> FakeNode:
    """Who has the shard."""
    return cluster.owner(SLOT)


@pytest.fixture
def there(cluster: FakeCluster, here: FakeNode) -> FakeNode:
    return cluster.second if here is cluster.first else cluster.first


def call(link: ClusterLink) -> RedisCall:
    return link.script("charge", NAMES, (b"the charge",), lambda reply: reply[0].decode())


async def end(pending: Any) -> str:
    """What a call came to."""
    try:
        return str(await asyncio.wait_for(pending.wait(), 30))
    except (NotSent, Lost) as why:
        return type(why).__name__


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def moved(to: FakeNode, kind: str = "MOVED") -> bytes:
    return f"-{kind} {SLOT} {to.place}\r\n".encode()


def once(first: Answer | type[ConnectionError], then: bytes = array(bulk("ok"))) -> Callable[[tuple[str, ...]], Any]:
    """What is said to the first function that is called, and to all else."""
    left = [first]

    def said(words: tuple[str, ...]) -> Any:
        return left.pop() if left and words[0] == "FCALL" else then

    return said


# --- slots ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "of"),
    [
        (b"123456789", b"123456789"),
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{bar", b"foo{bar"),
    ],
)
def test_the_slot_of_a_key(key: bytes, of: bytes) -> None:
    """The examples of the specification; 0x31C3 is the check value it gives for CRC16 of "123456789"."""
    from binascii import crc_hqx

    assert crc_hqx(b"123456789", 0) == 0x31C3
    assert slot_of(key) == crc_hqx(of, 0) % 16_384


def test_of_two_that_claim_a_slot_the_newer_one_has_it() -> None:
    asked = ServerPlace("10.0.0.1", 1)
    nodes = b"a 1 master - 0 0 7 connected\nb 1 master - 0 0 9 connected\n"
    old = claims_of([[0, 16_383, [b"10.0.0.1", 7, b"a"]]], nodes, asked)
    new = claims_of([[100, 200, [b"10.0.0.2", 7, b"b"]]], nodes, asked)
    for claims in (old + new, new + old):
        owners = Topology(claims).owners
        assert (owners[99], owners[100], owners[200], owners[201]) == (
            *(ServerPlace("10.0.0.1", 7), ServerPlace("10.0.0.2", 7)),
            *(ServerPlace("10.0.0.2", 7), ServerPlace("10.0.0.1", 7)),
        )


def test_a_node_that_does_not_name_itself_is_the_one_that_was_asked() -> None:
    (claim,) = claims_of([[0, 5, [b"", 7, b"a"], [b"x", 8, b"r"]]], b"", ServerPlace("10.0.0.9", 1))
    assert claim.place == ServerPlace("10.0.0.9", 7)
    assert claims_of([[0, 5, [b"?", 7, b"a"]]], b"", ServerPlace("10.0.0.9", 1)) == []


async def test_an_epoch_that_was_raised_alone_is_seen(cluster: FakeCluster) -> None:
    """A keeper that went on with the old one could open nothing any more (durability.md rule 5a)."""
    watch = TopologyWatch(StoreAddress(f"redis+cluster://{cluster.first.place}"))
    try:
        before = await watch.look()
        assert await watch.look() is before
        cluster.epochs[1] = 7
        assert (await watch.look()).epochs[cluster.second.place] == 7
    finally:
        await watch.close()


# --- usual ----------------------------------------------------------------------------------------------------


async def test_a_call_goes_to_who_has_its_shard(link: ClusterLink, here: FakeNode, there: FakeNode) -> None:
    assert await end(call(link)) == "ok"
    assert [words[3:7] for words in here.calls()] == [(*NAMES, "5")]
    assert not there.calls()


async def test_a_shard_that_is_not_published_there_is_shut_alone(
    link: ClusterLink, here: FakeNode, there: FakeNode
) -> None:
    del here.epochs[SHARD]
    await reached(lambda: link.epoch_of(SHARD) is None)
    assert await end(call(link)) == "NotSent"
    assert link.open_shards == keys.SHARDS - 1
    here.epochs[SHARD] = 8
    await reached(lambda: link.epoch_of(SHARD) == b"8")
    assert await end(call(link)) == "ok"


async def test_a_primary_that_hangs_shuts_its_shards_and_no_others(
    cluster: FakeCluster, link: ClusterLink, here: FakeNode, there: FakeNode
) -> None:
    here.is_frozen = True
    await reached(lambda: link.epoch_of(SHARD) is None)
    assert await end(call(link)) == "NotSent"
    other = next(shard for shard, slot in enumerate(SHARD_SLOTS) if cluster.owner(slot) is there)
    named = f"{keys.TAGS[other]}:acct:b"
    assert await end(link.script("post", (named,), (), lambda reply: reply[0].decode())) == "ok"
    assert str(here.place) in link.why


# --- redirections ---------------------------------------------------------------------------------------------


async def test_moved_is_sent_to_who_has_the_slot_now(link: ClusterLink, here: FakeNode, there: FakeNode) -> None:
    """MOVED: nothing was executed. The call goes on under the epoch that is open there."""
    there.epochs[SHARD] = 9
    here.on = lambda _words: moved(there)
    assert await end(call(link)) == "ok"
    assert [words[6] for words in there.calls()] == ["9"]
    assert len(here.calls()) == 1


async def test_moved_to_where_the_shard_is_not_open(link: ClusterLink, here: FakeNode, there: FakeNode) -> None:
    """The slot has moved, and the keeper has not opened the shard there: 3004, not a call without a fence."""
    del there.epochs[SHARD]
    here.on = lambda _words: moved(there)
    assert await end(call(link)) == "NotSent"
    assert not there.calls()
    assert link.lost["charge"] == 0


async def test_two_nodes_that_send_a_call_to_and_fro(link: ClusterLink, here: FakeNode, there: FakeNode) -> None:
    here.on, there.on = lambda _words: moved(there), lambda _words: moved(here)
    assert await end(call(link)) == "NotSent"
    assert len(here.calls()) + len(there.calls()) < 100


async def test_what_a_node_said_that_was_behind_is_taken_back(
    link: ClusterLink, here: FakeNode, there: FakeNode
) -> None:
    """All nodes say that the slot is where it was: a shard that is shut where a call was sent stays shut there."""
    del there.epochs[SHARD]
    here.on = once(moved(there))
    await end(call(link))  # refused, or done where it was after all
    await reached(lambda: link.epoch_of(SHARD) == b"5")
    assert await end(call(link)) == "ok"


async def test_ask_is_followed_with_asking_in_the_same_write(
    link: ClusterLink, cluster: FakeCluster, here: FakeNode, there: FakeNode
) -> None:
    """ASK holds for this one command: what has no shard has no fence of its own, and follows it."""
    key = next(name for name in (f"where:{n}" for n in range(100)) if cluster.owner(slot_of(name.encode())) is here)
    here.on = lambda _words: f"-ASK {slot_of(key.encode())} {there.place}\r\n".encode()
    there.on = lambda _words: bulk("found")
    assert await end(link.command("GET", key)) == "b'found'"
    (piece,) = [piece for piece in there.writes if "ASKING" in piece]
    assert piece[piece.index("ASKING") :][:2] == ["ASKING", "GET"]


async def test_a_call_of_a_shard_is_not_asked_for_where_it_is_not_open(
    link: ClusterLink, here: FakeNode, there: FakeNode
) -> None:
    """A shard on its way is open at its old primary only, which says when it has all keys again, or MOVED."""
    del there.epochs[SHARD]
    here.on = once(moved(there, "ASK"))
    assert await end(call(link)) == "ok"
    assert len(here.calls()) == 2
    assert not there.calls()


async def test_tryagain_is_tried_again_within_the_time(link: ClusterLink, here: FakeNode) -> None:
    here.on = once(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n")
    assert await end(call(link)) == "ok"
    here.on = lambda _words: b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
    assert await end(call(link)) == "NotSent"
    assert link.epoch_of(SHARD) == b"5"


async def test_clusterdown_is_no_call(link: ClusterLink, here: FakeNode) -> None:
    here.on = once(b"-CLUSTERDOWN Hash slot not served\r\n")
    assert await end(call(link)) == "NotSent"


# --- a primary that is replaced -------------------------------------------------------------------------------


async def test_a_call_that_was_cut_off_goes_to_the_new_primary_once(
    link: ClusterLink, cluster: FakeCluster, here: FakeNode, there: FakeNode
) -> None:
    """Its fate is not known: it is repeated once, with the same key, under the epoch of then."""
    there.epochs[SHARD] = 9

    def dies(_words: tuple[str, ...]) -> type[ConnectionError]:
        here.close()
        cluster.give_all_to(there)
        return ConnectionError

    here.on = dies
    assert await end(call(link)) == "ok"
    assert [words[6:] for words in there.calls()] == [("9", "the charge")]


async def test_a_call_that_is_cut_off_twice_is_lost(
    link: ClusterLink, cluster: FakeCluster, here: FakeNode, there: FakeNode
) -> None:
    def dies(_words: tuple[str, ...]) -> type[ConnectionError]:
        cluster.give_all_to(there)
        return ConnectionError

    here.on, there.on = dies, lambda _words: ConnectionError
    assert await end(call(link)) == "Lost"
    assert link.lost["charge"] == 1


async def test_what_a_primary_says_that_was_replaced_counts_nothing(
    link: ClusterLink, cluster: FakeCluster, here: FakeNode, there: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hung, was failed over and goes on: what it executes then is lost with its history."""
    monkeypatch.setattr(link._links[here.place], "_patience_s", 30.0)
    here.on = lambda _words: None
    sent = call(link)
    await reached(lambda: bool(here.calls()))
    (held,) = here.late
    there.on = lambda _words: array(bulk("executed by the new one"))
    cluster.give_all_to(there)
    link._stir.set()
    await reached(lambda: bool(there.calls()))
    with contextlib.suppress(OSError):
        held.write(array(bulk("executed by the old one")))
    assert await end(sent) == "executed by the new one"


# --- the place of a session -----------------------------------------------------------------------------------


def placed(link: ClusterLink, key: str) -> Any:
    return link.script_placed("charge", NAMES, (b"the charge",), lambda reply: reply[0].decode(), (key, "a sub"))


@pytest.fixture
def far(cluster: FakeCluster, there: FakeNode) -> str:
    """A key on the other primary."""
    return next(name for name in (f"where:{n}" for n in range(100)) if cluster.owner(slot_of(name.encode())) is there)


async def test_the_answer_waits_for_the_place(link: ClusterLink, there: FakeNode, far: str) -> None:
    there.on = lambda _words: None
    pending = placed(link, far)
    await reached(lambda: bool(there.calls("SET")))
    assert not pending.settled
    there.late[-1].write(b"+OK\r\n")
    assert await end(pending) == "ok"
    assert there.calls("SET") == [("SET", far, "a sub")]


async def test_a_primary_that_hangs_is_owed_the_place(
    link: ClusterLink, here: FakeNode, there: FakeNode, far: str
) -> None:
    there.is_frozen = True
    assert await end(placed(link, far)) == "ok"  # charged, and the client is told
    await reached(lambda: "Redis cannot be reached" in link.why)
    there.asked.clear()
    there.is_frozen = False
    there.on = lambda _words: b"+OK\r\n"
    await reached(lambda: ("SET", far, "a sub") in there.asked)


async def test_a_session_that_was_not_charged_is_owed_no_place(link: ClusterLink, here: FakeNode, far: str) -> None:
    del here.epochs[SHARD]
    await reached(lambda: link.epoch_of(SHARD) is None)
    assert await end(placed(link, far)) == "NotSent"


# --- what is projected ----------------------------------------------------------------------------------------


async def test_a_profile_is_read_with_the_mark_of_its_own_primary(
    link: ClusterLink, cluster: FakeCluster, here: FakeNode, there: FakeNode
) -> None:
    """A primary that lost its last writes lost its mark too: who is not there is not nobody by the mark of another."""
    near = next(name for name in (f"profile:{n}" for n in range(99)) if cluster.owner(slot_of(name.encode())) is here)
    far = next(name for name in (f"profile:{n}" for n in range(99)) if cluster.owner(slot_of(name.encode())) is there)

    def says(mark: str | None) -> Callable[[tuple[str, ...]], bytes]:
        return lambda words: bulk(mark if words[1].endswith(":projected") else f"profile by {mark}")

    here.on, there.on = says("7"), says("9")
    assert await link.read_projected([near]).wait() == [b"profile by 7", b"7"]
    assert await link.read_projected([near, far]).wait() == [b"profile by 7", b"profile by 9", b"7"]
    there.on = says(None)
    assert (await link.read_projected([near, far]).wait())[-1] is None
    at = here.writes[-1]
    assert at == ["GET", "GET"]


# --- a plain store --------------------------------------------------------------------------------------------


async def test_a_plain_store_that_is_loading_is_asked_again(cluster: FakeCluster) -> None:
    """Just started, it says who it is and what time it is, and reads nothing yet."""
    node, loading = cluster.first, [b"-LOADING Redis is loading the dataset in memory\r\n"] * 2
    published = array(*[bulk("node0 5")] * keys.SHARDS)

    def said(words: tuple[str, ...]) -> bytes:
        if words[0] == "MGET":
            return loading.pop() if loading else published
        return array(bulk("ok"))

    node.on = said
    plain = RedisConnection(f"redis://{node.place}", now_ms=lambda: 1_700_000_000_000)
    try:
        await plain.start(30)
        assert plain.open_shards == keys.SHARDS
        assert not loading
    finally:
        await plain.stop()


# --- replicas -------------------------------------------------------------------------------------------------


@pytest.fixture
async def replicated(cluster: FakeCluster) -> AsyncIterator[ClusterLink]:
    made = ClusterLink(
        f"redis+cluster://{cluster.first.place}", now_ms=lambda: 1_700_000_000_000, replicas=ReplicaPromise(2)
    )
    await made.start(30)
    yield made
    await made.stop()


async def test_an_answer_is_given_when_the_replicas_have_the_call(replicated: ClusterLink, here: FakeNode) -> None:
    """One WAIT for all calls of a write, behind a write of its own, for a repeat writes nothing."""
    here.on = lambda words: None if words[0] == "WAIT" else array(bulk("ok")) if words[0] == "FCALL" else b"+OK\r\n"
    first, second = call(replicated), call(replicated)
    await reached(lambda: bool(here.calls("WAIT")))
    (piece,) = [piece for piece in here.writes if "WAIT" in piece]
    assert piece[-4:] == ["FCALL", "FCALL", "EVAL", "WAIT"]
    assert here.calls("WAIT") == [("WAIT", "2", "800")]
    assert not first.settled
    here.late[-1].write(b":2\r\n")
    assert [await end(first), await end(second)] == ["ok", "ok"]


async def test_what_comes_while_the_replicas_are_asked_goes_in_one_write(
    replicated: ClusterLink, here: FakeNode
) -> None:
    """The server reads nothing more of a connection that waits for its replicas: writes of their own would each wait
    for them, one after the other."""
    here.on = lambda words: None if words[0] == "WAIT" else array(bulk("ok")) if words[0] == "FCALL" else b"+OK\r\n"
    first = call(replicated)
    await reached(lambda: bool(here.calls("WAIT")))
    later = []
    for _ in range(3):
        later.append(call(replicated))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    here.late[-1].write(b":2\r\n")
    assert await end(first) == "ok"
    await reached(lambda: len(here.calls("WAIT")) == 2)
    (_, piece) = [piece for piece in here.writes if "WAIT" in piece]
    assert piece[-5:] == ["FCALL", "FCALL", "FCALL", "EVAL", "WAIT"]
    here.late[-1].write(b":2\r\n")
    assert [await end(one) for one in later] == ["ok", "ok", "ok"]


@pytest.mark.parametrize("said", [b":1\r\n", b"-NOPERM this user has no permissions to run the 'wait' command\r\n"])
async def test_what_too_few_replicas_have_is_not_answered(replicated: ClusterLink, here: FakeNode, said: bytes) -> None:
    """It may be lost with the primary: silence, and the client asks again."""
    here.on = lambda words: said if words[0] == "WAIT" else array(bulk("ok")) if words[0] == "FCALL" else b"+OK\r\n"
    assert await end(call(replicated)) == "Lost"
    assert replicated.lost["charge"] == 1


async def test_a_refusal_waits_for_no_replica(replicated: ClusterLink, here: FakeNode) -> None:
    here.on = lambda words: b"-NOREPLICAS Not enough good replicas to write.\r\n" if words[0] == "FCALL" else None
    assert await end(call(replicated)) == "NotSent"


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        (array(b":1\r\n", b":2\r\n"), "ok"),
        (array(b":1\r\n", b":1\r\n"), "Lost"),
        (array(b":0\r\n", b":2\r\n"), "Lost"),
        (b"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n", "Lost"),
    ],
)
async def test_what_is_on_disk_with_the_primary_and_its_replicas(
    cluster: FakeCluster, here: FakeNode, said: bytes, ends: str
) -> None:
    here.on = lambda words: said if words[0] == "WAITAOF" else b":0\r\n" if words[0] == "WAIT" else array(bulk("ok"))
    promise = ReplicaPromise(2, on_disk=True)
    made = ClusterLink(f"redis+cluster://{cluster.first.place}", now_ms=lambda: 1_700_000_000_000, replicas=promise)
    await made.start(30)
    assert await end(call(made)) == ends
    assert here.calls("WAITAOF") == [("WAITAOF", "1", "2", "800")]
    (piece,) = [piece for piece in here.writes if "WAITAOF" in piece]
    assert piece[-4:] == ["FCALL", "EVAL", "WAIT", "WAITAOF"]
    await made.stop()


async def test_a_connection_that_ends_before_the_replicas_answer(replicated: ClusterLink, here: FakeNode) -> None:
    """The reply was there, and was not given: it is asked for again, with the same key."""
    waits: Iterator[Any] = iter([ConnectionError, b":2\r\n"])
    here.on = lambda words: next(waits) if words[0] == "WAIT" else array(bulk("ok"))
    assert await end(call(replicated)) == "ok"
    assert len(here.calls()) == 2


async def test_what_has_no_write_of_ours_behind_it_is_not_answered(replicated: ClusterLink, here: FakeNode) -> None:
    """The slot of our own write is on its way to another server. WAIT counts from the write before then, and a repeat
    writes nothing: its first try, by another worker, may be on no replica. The next write is of another slot."""

    def said(words: tuple[str, ...]) -> Answer:
        if words[0] == "EVAL" and len(here.calls("EVAL")) == 1:
            return f"-ASK {SLOT} 127.0.0.1:1\r\n".encode()
        return b":2\r\n" if words[0] == "WAIT" else array(bulk("ok"))

    here.on = said
    assert await end(call(replicated)) == "Lost"
    assert await end(call(replicated)) == "ok"
    first, second = here.calls("EVAL")
    assert first[-1] != second[-1]


@pytest.fixture
async def patient(
    cluster: FakeCluster, here: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    """Makes a connection that would wait for replies nearly for ever."""
    monkeypatch.setattr("balances.redis.connection.MEMBER_PATIENCE_S", 3_600.0)
    made: list[ClusterLink] = []

    async def make(**how: Any) -> ClusterLink:
        url = f"redis+cluster://{cluster.first.place}"
        made.append(ClusterLink(url, now_ms=lambda: 1_700_000_000_000, answer_ms_max=3_600_000, **how))
        await made[0].start(30)
        return made[0]

    yield make
    await made[0].stop()


async def test_a_connection_that_ends_before_a_write_is_made_anew(patient: Callable[..., Any], here: FakeNode) -> None:
    """Of what was never written no reply is expected, or all that follow would be taken for those of others."""
    here.on = lambda words: b":2\r\n" if words[0] == "WAIT" else array(bulk("ok"))
    link = await patient(replicas=ReplicaPromise(2))
    assert await end(call(link)) == "ok"
    one = link._of_number[keys.NUMBERS[SHARD]]
    transport = one._transport
    transport.abort()
    made = call(link)
    for _ in range(3):
        await asyncio.sleep(0)
    assert one._transport is None
    assert not one._flying
    assert await end(made) == "ok"


async def test_a_connection_that_ends_in_the_middle_of_a_check_is_made_anew_at_once(
    patient: Callable[..., Any], here: FakeNode
) -> None:
    link = await patient()
    here.is_frozen = True
    asked = len(here.calls("INFO"))
    await reached(lambda: len(here.calls("INFO")) > asked)
    here.is_frozen = False
    asked = len(here.calls("INFO"))
    for transport in here.late:
        transport.abort()
    await reached(lambda: len(here.calls("INFO")) > asked and link.epoch_of(SHARD) is not None)


# --- beside the calls -----------------------------------------------------------------------------------------


async def test_what_is_asked_too_comes_from_several_primaries(
    link: ClusterLink, here: FakeNode, there: FakeNode
) -> None:
    heard: list[list[Any]] = []
    each: list[list[Any]] = []
    here.on = there.on = lambda words: bulk(f"{words[1]}")
    link.ask_too((("HGET", keys.CATALOG, "version"), ("GET", keys.ORIGINS_CHANGES)), heard.append)
    link.ask_each(("INFO", "memory"), each.append)
    await reached(lambda: bool(heard and each))
    assert heard[0] == [keys.CATALOG.encode(), keys.ORIGINS_CHANGES.encode()]
    assert len(each[0]) == 2


async def test_a_cluster_that_cannot_be_reached_is_away_to_the_slow_client_too() -> None:
    """Who listens, or tries again, catches what says that a store is away."""
    client = slow_client("redis+cluster://127.0.0.1:1")
    for ask in (client.get, client.smembers, client.pipeline(transaction=False).get("x").execute):
        with pytest.raises(STORE_AWAY):
            await (ask("x") if ask.__name__ != "execute" else ask())
    with pytest.raises(STORE_AWAY):
        async with listening(client):
            pass
    await client.aclose()
