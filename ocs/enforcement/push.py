"""Asking a network element for something: RAR, ASR. Who asks does not know which worker has its connection, so the
request is published to all of them; the one that has it sends it and publishes what came of it.

A repeat does no harm: RAR makes a client report, ASR ends what is ended already.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from balances import keys
from balances.ledger.supervision import Push
from balances.ops import Session

if TYPE_CHECKING:
    from redis.asyncio import Redis

ANSWER_S: Final = 10.0
"""How long a worker waits for the RAA or ASA."""
WAIT_S: Final = ANSWER_S + 2.0

NO_ROUTE: Final = "no-route"
TIMEOUT: Final = "timeout"


class Receipt(msgspec.Struct, frozen=True):
    """Published on `push:<id>`. Each worker without a connection says `no-route`; the one with it says the rest."""

    id: str
    result: int | str
    """Result-Code, `no-route` or `timeout`."""
    host: str = ""
    """Who answered."""


def receipts(push: str) -> str:
    """Channel of the receipts of one request."""
    return f"{keys.PUSH}:{push}"


async def push(redis: Redis, kind: str, session: Session, rating_group: int | None = None) -> Receipt:
    """`rar` or `asr` for that session, and what became of it."""
    asked = Push(secrets.token_hex(8), kind, session.id, session.peer, session.realm, session.via, rating_group)
    asked.incarnation = session.incarnation
    async with redis.pubsub() as heard:
        await heard.subscribe(receipts(asked.id))
        workers = await redis.publish(keys.PUSH, msgspec.msgpack.encode(asked))
        try:
            async with asyncio.timeout(WAIT_S):
                while workers > 0:
                    message = await heard.get_message(ignore_subscribe_messages=True, timeout=WAIT_S)
                    if message is None:
                        continue
                    receipt = msgspec.msgpack.decode(message["data"], type=Receipt)
                    if receipt.result != NO_ROUTE:
                        return receipt
                    workers -= 1
        except TimeoutError:
            return Receipt(asked.id, TIMEOUT)
    return Receipt(asked.id, NO_ROUTE)
