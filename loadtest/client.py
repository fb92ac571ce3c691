"""A Diameter client that keeps every unanswered request and sends it again with the T bit.

    client = Client(Target("127.0.0.1", 3868), connections=2)
    await client.start()
    answer = await client.ask(client.links[0], session)     # or client.send(link, request, number), with a callback
    client.cut()                                            # pull the cable; it reconnects and sends again
    client.unanswered, client.answered                      # what a drill asks about
    await client.stop()

Connections are kept up until `stop`.
"""

import asyncio
import random
import time
from collections.abc import Callable

from loadtest.answers import AnswerReader, LoadAnswer
from loadtest.link import LoadConnection, Request, Target, WireCounts
from loadtest.subscriber import LoadSession
from loadtest.templates import again, ids, stamp
from protocol.diameter.message import DiameterCommand

SWEEP_S = 0.25  # how often the unanswered are looked at


class LoadClient:
    """Several connections and what waits on them. `record` keeps every answered request in `answered`, for drills."""

    def __init__(
        self, target: Target, *, connections: int = 1, timeout_s: float = 5.0, record: bool = False, seed: int = 0
    ) -> None:
        self.target, self.timeout_s = target, timeout_s
        self.rng = random.Random(seed)
        self.reader = AnswerReader()
        self.counts = WireCounts()
        self.answered: list[Request] | None = [] if record else None
        self.pushed: Callable[[DiameterCommand], None] = lambda message: None
        """Called with every RAR and ASR."""
        self.started = time.time_ns() // 1_000_000 & 0xFFFFFFFF
        """The high 32 bits of our Session-Ids (RFC 6733 section 8.8): milliseconds, for two runs may share a second."""
        self.links = [LoadConnection(self, f"{n}.{target.origin}") for n in range(1, connections + 1)]
        # RFC 6733 section 3: the high 12 bits from the clock, so that a restarted client does not repeat itself soon.
        self._number = int(time.time()) << 20 & 0xFFFFFFFF
        self._sessions = 0
        self._up = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, wait_s: float = 10.0) -> None:
        """All connections up, or ConnectionError."""
        for link in self.links:
            link.dial()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        try:
            async with asyncio.timeout(wait_s):
                while not all(link.is_open for link in self.links):
                    self._up.clear()
                    await self._up.wait()
        except TimeoutError:
            where = f"{self.target.host}:{self.target.port}"
            down = next(link for link in self.links if not link.is_open)
            raise ConnectionError(
                f"no connection of {down.origin} to {where} after {wait_s:g} s ({down.why_down}): "
                "is the server running, and does it admit this peer?"
            ) from None

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*(link.close() for link in self.links))

    @property
    def unanswered(self) -> list[Request]:
        return [request for link in self.links for request in link.waiting.values()]

    @property
    def in_flight(self) -> int:
        return sum(len(link.waiting) for link in self.links)

    async def quiet(self, wait_s: float) -> bool:
        """Whether everything was answered within that time."""
        end = time.monotonic() + wait_s
        while self.in_flight and time.monotonic() < end:  # noqa: ASYNC110  cheap here, and nothing on the hot path
            await asyncio.sleep(0.02)
        return not self.in_flight

    def cut(self) -> None:
        """Cut every connection without a DPR."""
        for link in self.links:
            link.cut()

    def next_number(self) -> int:
        self._number = self._number + 1 & 0xFFFFFFFF
        return self._number

    def next_session(self) -> int:
        self._sessions += 1
        return self._sessions

    def send(self, link: LoadConnection, request: Request, number: int) -> None:
        """`number` is the Hop-by-Hop Identifier the frame was made with."""
        link.send(request, number)

    def ask(self, link: LoadConnection, session: LoadSession) -> "asyncio.Future[LoadAnswer]":
        """The session's next request, for drills: awaited, and the session has taken note when the answer is there."""
        future: asyncio.Future[LoadAnswer] = asyncio.get_running_loop().create_future()

        def done(request: Request, answer: LoadAnswer, now_ns: int) -> None:
            session.answered(answer)
            if not future.done():
                future.set_result(answer)

        number = self.next_number()
        frame = session.frame(ids(number), stamp(time.time()))
        self.send(link, Request(frame, session.id, done, time.monotonic_ns()), number)
        return future

    def repeat(self, link: LoadConnection, request: Request) -> Request:
        """The same request once more while the first may still be on its way: T bit, same End-to-End Identifier."""
        number = self.next_number()
        copy = Request(again(request.frame, number), request.session, _nobody, request.planned_ns)
        link.send(copy, number)
        return copy

    def link_is_up(self) -> None:
        self._up.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_ns = time.monotonic_ns()
            for link in self.links:
                link.sweep(now_ns)


def _nobody(request: Request, answer: LoadAnswer, now_ns: int) -> None:
    """Callback of a request whose answer nobody waits for."""
