"""Reads the streams: only from a server whose history is open, and never across a gap without saying so.

Every answer of this module says whose it is: the server's role and history are those at the moment of the read, so that
a failover between asking and reading cannot pass another server's records off as this one's. On a plain store a look is
one MULTI. In a cluster a transaction may name keys of one shard only; there the server is asked who it is before and
after all the rest, on one connection: a server that gave up its mastership meanwhile cannot have come back to the same
history, because whoever becomes master begins a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import AskError, RedisClusterException, RedisError, TryAgainError
from redis.exceptions import TimeoutError as NoAnswer

from balances import keys
from balances.ledger.record import START, RecordedCall, RecordId, decode, parse_id
from balances.redis.calls import pack_words
from balances.redis.clients import slow_client
from balances.redis.primaries import Primary

Client = Any
"""redis.asyncio.Redis, for everything but the hot path (wire.py); its types do not know that replies are bytes."""


STORE_AWAY: Final[tuple[type[Exception], ...]] = (RedisError, RedisClusterException, OSError)
"""Redis cannot be asked now; later it can."""


SHARDS_AT_ONCE: Final = 64
"""Of one look. The store answers nobody else meanwhile: all of 256 shards took it 1 to 4 ms."""
ANSWER_S: Final = 10.0
"""For all replies to one write."""

ELSEWHERE: Final[tuple[type[Exception], ...]] = (AskError, TryAgainError)
"""What a server of a cluster says of a shard that it does not have (MOVED is an AskError of the client too), or that is
on its way to another one."""

_WHO: Final = [b"INFO", b"replication"]
_LEDGERS: Final = [keys.ledger(shard).encode() for shard in range(keys.SHARDS)]
_PUBLISHED: Final = [keys.published(shard).encode() for shard in range(keys.SHARDS)]


def of_redis(why: Exception) -> bool:
    """Its client raised it, and not that of PostgreSQL. On a connection that is being closed the client calls what is
    not there any more, or writes to a transport that has ended: then the server is away like any other."""
    if isinstance(why, RedisError | RedisClusterException):
        return True
    is_cut = isinstance(why, AttributeError) and "writelines" in str(why)
    return is_cut or (isinstance(why, RuntimeError) and "handler is closed" in str(why))


@contextlib.asynccontextmanager
async def answering(within_s: float) -> AsyncIterator[None]:
    """A limit for what is asked of the live store: NoAnswer beyond it, which says whose fault it is."""
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise NoAnswer(f"the live store has not answered within {within_s:g} s") from None


def connect(url: str) -> Client:
    return slow_client(url)


class ServerIdentity(NamedTuple):
    """Who answered."""

    master: bool
    replid: str
    published: dict[int, bytes | None]
    """The key `published` of each shard that was asked for and is here: "<replid> <epoch>"."""

    def epoch_of(self, shard: int) -> int:
        """Epoch under which the shard is open in this server's own history, 0 when it is not."""
        replid, _, epoch = (self.published.get(shard) or b"").partition(b" ")
        return int(epoch) if replid == self.replid.encode() and epoch.isdigit() else 0

    def with_more(self, other: ServerIdentity) -> ServerIdentity:
        """What it said of other shards besides."""
        return self._replace(published=self.published | other.published)

    @property
    def foreign(self) -> dict[int, bytes]:
        """What is published here of another history, by shard."""
        mine = self.replid.encode()
        return {
            shard: value
            for shard, value in self.published.items()
            if value and value.partition(b" ")[0] not in (mine, b"-")
        }

    @property
    def published_epoch(self) -> int:
        """The oldest epoch under which any of the shards is open, 0 when one is not."""
        return min(map(self.epoch_of, self.published), default=0)

    @property
    def latest_epoch(self) -> int:
        """Newest epoch that was published here for any of them, for whichever history."""
        said = (found.partition(b" ")[2] for found in self.published.values() if found)
        return max((int(epoch) for epoch in said if epoch.isdigit()), default=0)


class Pulse(NamedTuple):
    """Two that are equal say that between them no record was written."""

    server: ServerIdentity
    appended: int | None
    """Calls of XADD that the server has counted; None where it does not say. Every record is one."""


class Look(NamedTuple):
    server: ServerIdentity
    entries: dict[int, list[Any]]
    """Undecoded stream entries by shard."""


class StreamRoom(NamedTuple):
    used_bytes: int
    limit_bytes: int
    """maxmemory; 0: none."""
    entries: int
    """In all streams."""


class Lag(NamedTuple):
    entries: int
    """Records after the cursors."""
    oldest_ms: int
    """Instant of the oldest of them that says one, 0 where none does."""


class StreamReader:
    """Of one primary. Answers are taken as they come, without the client's own decoding: a third of the cost (see
    bench.py). A shard that the server does not have, or not any more, is missing in what is answered."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._redis = primary.client
        self._shards = sorted(primary.shards)

    async def server(self) -> ServerIdentity:
        return (await self._look(self._shards, []))[0]

    async def pulse(self) -> Pulse:
        """Who the server is and whether records were written, for the price of one command."""
        server, (counts,) = await self._look(self._shards, [[b"INFO", b"commandstats"]])
        return Pulse(server, _appended(counts))

    async def after(self, cursors: Mapping[int, RecordId], count: int) -> Look:
        """Up to `count` entries of each shard that come after its cursor; none, where not all looks saw one server."""
        if not cursors:
            return Look((await self._look([], []))[0], {})
        wanted, entries = list(cursors.items()), dict[int, list[Any]]()
        server: ServerIdentity | None = None
        for at in range(0, len(wanted), SHARDS_AT_ONCE):
            look = await self._after(dict(wanted[at : at + SHARDS_AT_ONCE]), count)
            if server is not None and server[:2] != look.server[:2]:
                return Look(look.server, {})
            server = look.server if server is None else server.with_more(look.server)
            entries |= look.entries
        assert server is not None
        return Look(server, entries)

    async def _after(self, cursors: Mapping[int, RecordId], count: int) -> Look:
        shards = {_LEDGERS[shard]: shard for shard in cursors}
        if self._primary.clustered:
            reads: list[list[Any]] = [
                [b"XREAD", b"COUNT", count, b"STREAMS", key, str(cursors[shard])] for key, shard in shards.items()
            ]
        else:
            after = (str(cursor) for cursor in cursors.values())
            reads = [[b"XREAD", b"COUNT", count, b"STREAMS", *shards, *after]]
        server, replies = await self._look(list(cursors), reads)
        found = [pair for reply in replies if isinstance(reply, list) for pair in reply]
        return Look(server, {shards[key]: entries for key, entries in found if shards[key] in server.published})

    async def heads(self, shards: Iterable[int]) -> tuple[ServerIdentity, dict[int, RecordId]]:
        """The last record of each shard, `START` where there is none."""
        wanted = list(shards)
        reads = [[b"XREVRANGE", _LEDGERS[shard], b"+", b"-", b"COUNT", 1] for shard in wanted]
        server, replies = await self._look(wanted, reads)
        return server, {
            shard: parse_id(reply[0][0]) if reply else START
            for shard, reply in zip(wanted, replies, strict=True)
            if shard in server.published and not isinstance(reply, Exception)
        }

    async def room(self) -> StreamRoom:
        """How much there is in the server, and how much there may be."""
        memory, *lengths = await send(
            self._redis,
            [[b"INFO", b"memory"], *([b"XLEN", _LEDGERS[shard]] for shard in self._shards)],
            kept=ELSEWHERE,
        )
        fields = _fields(memory)
        entries = sum(length for length in lengths if not isinstance(length, Exception))
        return StreamRoom(int(fields[b"used_memory"]), int(fields[b"maxmemory"]), entries)

    async def span(self, shard: int, after: RecordId, head: RecordId, count: int = 2_000) -> list[RecordedCall]:
        """All records of a shard after one, up to and with another; all from the first when `after` is START."""
        calls: list[RecordedCall] = []
        at = after
        while at < head:
            entries = (await self._send([[b"XRANGE", keys.ledger(shard), f"({at}", str(head), b"COUNT", count]]))[0]
            calls += [decode(entry) for entry in entries]
            if len(entries) < count:
                break
            at = calls[-1].id
        return calls

    async def lag(self, cursors: Mapping[int, RecordId], heads: Mapping[int, RecordId]) -> Lag:
        """What comes after the cursors, counted in the streams. Inside an epoch n counts; where the head is of another
        one, all that the stream has is counted, less what it keeps behind the cursor."""
        behind = {shard: cursor for shard, cursor in cursors.items() if heads[shard] > cursor}
        other = [shard for shard, cursor in behind.items() if heads[shard].epoch != cursor.epoch]
        commands: list[list[Any]] = []
        for shard, cursor in behind.items():
            commands.append([b"XRANGE", _LEDGERS[shard], f"({cursor}", b"+", b"COUNT", 1])
        for shard in other:
            commands.append([b"XLEN", keys.ledger(shard)])
            commands.append([b"XRANGE", keys.ledger(shard), b"-", str(behind[shard])])
        replies = list[Any]()
        for at in range(0, len(commands), SHARDS_AT_ONCE):
            replies += await self._send(commands[at : at + SHARDS_AT_ONCE])
        counted = replies[len(behind) :]
        entries = sum(heads[shard].n - cursor.n for shard, cursor in behind.items() if shard not in other)
        entries += sum(length - len(kept) for length, kept in zip(counted[::2], counted[1::2], strict=True))
        return Lag(entries, min(filter(None, map(_instant, replies[: len(behind)])), default=0))

    async def has(self, shard: int, wanted: RecordId) -> bool:
        """Whether the stream still holds this very record."""
        return bool((await self._send([[b"XRANGE", keys.ledger(shard), str(wanted), str(wanted)]]))[0])

    async def _look(self, shards: list[int], commands: list[list[Any]]) -> tuple[ServerIdentity, list[Any]]:
        if self._primary.clustered:
            gets = [[b"GET", _PUBLISHED[shard]] for shard in shards]
            first, *rest, last = await send(self._redis, [_WHO, *gets, *commands, _WHO], kept=ELSEWHERE)
            found, rest = rest[: len(shards)], rest[len(shards) :]
            changed = _of_server(first) != _of_server(last)
        else:
            gets = [[b"MGET", *(_PUBLISHED[shard] for shard in shards)]] if shards else []
            last, *rest = (await self._send([[b"MULTI"], _WHO, *gets, *commands, [b"EXEC"]]))[-1]
            for reply in rest:
                if isinstance(reply, Exception):  # what fails inside EXEC comes back as its place in the answer
                    raise reply
            found = rest.pop(0) if shards else []
            changed = False
        master, replid = _of_server(last)
        published = dict(zip(shards, found, strict=True))
        if any(isinstance(one, Exception) for one in found):
            published = {shard: one for shard, one in published.items() if not isinstance(one, Exception)}
        return ServerIdentity(master and not changed, replid, published), rest

    async def _send(self, commands: list[list[Any]]) -> list[Any]:
        return await send(self._redis, commands)


async def send(
    redis: Client, commands: Sequence[Sequence[Any]], *, kept: tuple[type[Exception], ...] = ()
) -> list[Any]:
    """Their replies, undecoded. Packed as on the hot connection: the client's own packing took longer than all the rest
    of a look at 256 streams. Raises the first error, when all replies are read: the connection is used again. Errors
    of a kind that is `kept` stand in their places instead."""
    pool = redis.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(b"".join([pack_words(tuple(words)) for words in commands]))
        replies: list[Any] = []
        error: Exception | None = None
        try:
            async with asyncio.timeout(ANSWER_S):  # the client would set one for each reply, which takes twice the rest
                while len(replies) < len(commands):
                    try:
                        replies.append(await connection.read_response(disable_decoding=True, timeout=math.inf))
                    except Exception as why:
                        if not connection.is_connected:
                            raise
                        is_kept = isinstance(why, kept)
                        replies.append(why if is_kept else None)
                        error = error or (None if is_kept else why)
        except TimeoutError:
            raise NoAnswer("the live store does not answer") from None
        if error is not None:
            raise error
        return replies
    except BaseException:
        await connection.disconnect()
        raise
    finally:
        await pool.release(connection)


class RecordFront(msgspec.Struct, array_like=True, gc=False):
    """The front of Record, as far as its instant."""

    version: msgspec.Raw
    kind: msgspec.Raw
    account: msgspec.Raw
    currency: msgspec.Raw
    subscriber: msgspec.Raw
    session: msgspec.Raw
    service: msgspec.Raw
    phase: msgspec.Raw
    at_ms: int


_front: Final = msgspec.msgpack.Decoder(RecordFront).decode


def _instant(reply: list[Any]) -> int:
    """Of the first record in a reply; 0 where there is none, or none that can be read."""
    if not reply:
        return 0
    fields = reply[0][1]
    try:
        return _front(dict(zip(fields[::2], fields[1::2], strict=False)).get(b"r", b"")).at_ms
    except msgspec.MsgspecError:
        return 0


def _appended(counts: bytes) -> int | None:
    if b"cmdstat_" not in counts:  # it counts nothing
        return None
    _, _, found = counts.partition(b"cmdstat_xadd:calls=")
    return int(found.partition(b",")[0]) if found else 0


def _of_server(info: bytes) -> tuple[bool, str]:
    """(master, replid)"""
    fields = _fields(info)
    return fields[b"role"] == b"master", fields[b"master_replid"].decode()


def _fields(info: bytes) -> dict[bytes, bytes]:
    return dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
