"""Requests to network elements: RAR, ASR. The caller does not know which worker has the connection to the peer, so the
request is published to all of them; the one that has it sends it and publishes what came of it.

A repeat does no harm: RAR makes a client report, ASR ends what is ended already.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import msgspec

from balances import keys
from balances.ledger.supervision import SessionRequest
from balances.redis.clients import listening
from balances.redis.pending import ended
from balances.structs.session import Session

if TYPE_CHECKING:
    from redis.asyncio import Redis

ANSWER_S: Final = 10.0
"""How long a worker waits for the RAA or ASA."""
WAIT_S: Final = ANSWER_S + 2.0
AGAIN_S: Final = 0.5

NO_ROUTE: Final = "no-route"
TIMEOUT: Final = "timeout"


class RequestReceipt(msgspec.Struct, frozen=True):
    """Published on `session-requests:<id>`. Each worker without a connection says `no-route`, that one the rest."""

    id: str
    result: int | str
    """Result-Code, `no-route` or `timeout`."""
    host: str = ""
    """The peer it was sent to."""
    by: str = ""
    """Origin-Host of the answer: the client's, or that of a relay which could not deliver."""


_receipt: Final = msgspec.msgpack.Decoder(RequestReceipt).decode


def receipts(request: str) -> str:
    """Channel of the receipts of one request."""
    return f"{keys.SESSION_REQUESTS}:{request}"


class _Asked:
    """A request under way: how many workers were asked (None: not known yet), how many have no connection."""

    def __init__(self) -> None:
        self.receipt: asyncio.Future[RequestReceipt] = asyncio.get_running_loop().create_future()
        self.workers: int | None = None
        self.refusals = 0

    def settle(self, receipt: RequestReceipt) -> None:
        if not self.receipt.done():
            self.receipt.set_result(receipt)


class SessionRequester:
    """Sends any number of requests at once; the receipts of all arrive over one connection to Redis.

    trouble:  what the client raises when Redis is away; receipts lost meanwhile are `timeout`
    """

    def __init__(self, redis: Redis, trouble: tuple[type[Exception], ...]) -> None:
        self._redis, self._trouble = redis, trouble
        self._name, self._number = secrets.token_hex(8), 0
        self._asked: dict[str, _Asked] = {}
        self._listening = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[SessionRequester]:
        task = asyncio.create_task(self.listen())
        try:
            yield self
        finally:
            await ended((task,))

    async def ask(self, kind: str, session: Session, rating_group: int | None = None) -> RequestReceipt:
        """Send `rar` or `asr` for this session and return its receipt. Raises what the Redis client raises."""
        self._number += 1
        name = f"{self._name}.{self._number}"
        asked = self._asked[name] = _Asked()
        wanted = SessionRequest(name, kind, session.id, session.peer, session.realm, session.via, rating_group)
        wanted.incarnation = session.incarnation
        try:
            async with asyncio.timeout(WAIT_S):
                await self._listening.wait()
                asked.workers = await self._redis.publish(keys.SESSION_REQUESTS, msgspec.msgpack.encode(wanted))
                self._judge(name, asked)
                return await asked.receipt
        except TimeoutError:
            return RequestReceipt(name, TIMEOUT)
        finally:
            del self._asked[name]

    async def listen(self) -> None:
        """Listen for receipts until cancelled; reconnects after each failure of Redis."""
        while True:
            try:
                async with listening(self._redis) as heard:
                    await heard.psubscribe(receipts(f"{self._name}.*"))
                    async for message in heard.listen():
                        if message["type"] == "psubscribe":
                            self._listening.set()
                        elif message["type"] == "pmessage":
                            self._heard(_receipt(message["data"]))
            except self._trouble:
                self._listening.clear()
            await asyncio.sleep(AGAIN_S)

    def _heard(self, receipt: RequestReceipt) -> None:
        asked = self._asked.get(receipt.id)
        if asked is None:
            return
        if receipt.result == NO_ROUTE:
            asked.refusals += 1
            self._judge(receipt.id, asked)
        else:
            asked.settle(receipt)

    @staticmethod
    def _judge(name: str, asked: _Asked) -> None:
        if asked.workers is not None and asked.refusals >= asked.workers:
            asked.settle(RequestReceipt(name, NO_ROUTE))
