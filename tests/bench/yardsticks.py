"""What the machine can do today: the same pacing and the same reading of the clock, against almost nothing.

    echo      400-octet messages through a bare uvloop server, one write per turn of the loop on both sides
    EVALSHA   a script that reads, writes and appends about as many octets as charge.lua does, pipelined

A ratio to these says more than a number of microseconds on a machine that others use too.
"""

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import hiredis
import redis
from hdrh.histogram import HdrHistogram

from loadtest.pace import Pacer, plan
from ocs.processes.embedded import Durability, EmbeddedValkey
from tests.bench import processes

MESSAGE = bytes(400)
ACCOUNTS = 1_000
STREAM_MAX = 100_000

SCRIPT = """
-- About the octets charge.lua moves: an account of 200, a session of 150, a record of 300 and the state after it.
local account = redis.call('GET', KEYS[1])
local session = redis.call('HGET', KEYS[2], ARGV[1])
local count = account and struct.unpack('>I4', account) or 0
account = struct.pack('>I4', count + 1) .. string.rep('a', 196)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'r', ARGV[2], 'a', account, 's', session or '')
redis.call('SET', KEYS[1], account)
redis.call('HSET', KEYS[2], ARGV[1], string.rep('s', 150))
return {'ok', count, account}
"""


class Pipe(asyncio.Protocol):
    """Messages out, answers in the same order; `answers(data)` counts those that are complete."""

    def __init__(self, make: Callable[[], bytes], answers: Callable[[bytes], int]) -> None:
        self.latency_us = HdrHistogram(1, 120_000_000, 3)
        self.answered = 0
        self.refill = False
        self._make, self._answers = make, answers
        self._planned: deque[int] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, planned_ns: int) -> bool:
        self._planned.append(planned_ns)
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(self._make())
        return True

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        for _ in range(self._answers(data)):
            self.latency_us.record_value(max(1, (now - self._planned.popleft()) // 1_000))
            self.answered += 1
            if self.refill:
                self.send(now)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # ---- the two ways to use it

    async def pace(self, rate: float, seconds: float) -> tuple[float, float]:
        """p50 and p99 in ms."""
        self.latency_us.reset()
        pacer = Pacer(plan(rate, "poisson", random.Random(1)), self.send)
        pacer.start()
        await asyncio.sleep(seconds)
        pacer.stop()
        await asyncio.sleep(0.2)
        return tuple(self.latency_us.get_value_at_percentile(p) / 1_000 for p in (50, 99))

    async def saturate(self, in_flight: int, seconds: float) -> tuple[int, float]:
        """How many were answered, and in how many seconds."""
        self.refill, self.answered = True, 0
        started = time.monotonic()
        for _ in range(in_flight):
            self.send(time.monotonic_ns())
        await asyncio.sleep(seconds)
        self.refill = False
        answered, spent = self.answered, time.monotonic() - started
        await asyncio.sleep(0.2)
        return answered, spent


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[Pipe]:
    """A connection to an echo server in a process of its own."""
    child = subprocess.Popen([sys.executable, str(Path(__file__).with_name("echo.py"))], stdout=subprocess.PIPE)
    assert child.stdout is not None
    port = int(child.stdout.readline())
    rest = 0

    def whole(data: bytes) -> int:
        nonlocal rest
        count, rest = divmod(rest + len(data), len(MESSAGE))
        return count

    pipe = Pipe(lambda: MESSAGE, whole)
    try:
        await asyncio.get_running_loop().create_connection(lambda: pipe, "127.0.0.1", port)
        yield pipe
    finally:
        pipe.close()
        child.kill()
        child.communicate()


@contextlib.asynccontextmanager
async def evalsha(home: Path, durability: Durability) -> AsyncIterator[tuple[Pipe, Callable[[], float]]]:
    """A connection to a store of its own, and a function that tells the CPU seconds of that store."""
    server = EmbeddedValkey(home, durability=durability)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            sha = client.script_load(SCRIPT)
        reader = hiredis.Reader()

        def count(data: bytes) -> int:
            reader.feed(data)
            answers = 0
            while (answer := reader.gets()) is not False:
                if isinstance(answer, hiredis.ReplyError):
                    raise answer
                answers += 1
            return answers

        calls = _calls(sha)
        pipe = Pipe(lambda: next(calls), count)
        await asyncio.get_running_loop().create_unix_connection(lambda: pipe, str(server.socket))
        pid = server.pid
        yield pipe, lambda: sum(processes.cpu_s(pid).values())
        pipe.close()
    finally:
        server.kill()


def _calls(sha: str) -> Iterator[bytes]:
    """The script on one account after the other."""
    record, numbers = b"r" * 300, random.Random(1)
    while True:
        name = f"{{{numbers.randrange(ACCOUNTS):05d}}}"
        words: tuple[str | bytes, ...] = (
            "EVALSHA",
            sha,
            "3",
            f"{name}a",
            f"{name}s",
            "{00000}l",
            "session",
            record,
            str(STREAM_MAX),
        )
        yield hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub says: of one word
