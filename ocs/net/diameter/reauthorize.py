"""The worker's side of ocs/enforcement/session_requests.py: requests heard in Redis become RAR and
ASR on our connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from balances import keys
from balances.ledger.supervision import SessionRequest
from balances.redis.clients import listening
from ocs.enforcement.session_requests import ANSWER_S, NO_ROUTE, TIMEOUT, RequestReceipt, receipts
from ocs.net.diameter.node import Node
from ocs.telemetry import metrics
from ocs.telemetry.log import logger
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import AbortSessionRequest, ReAuthRequestType
from protocol.diameter.dictionary.credit_control import APPLICATION, ReAuthRequest
from protocol.diameter.message import DiameterCommand
from protocol.errors import ProtocolError, ResultCode

if TYPE_CHECKING:
    from redis.asyncio import Redis

RETRY_S: Final = 0.5
_CODES: Final = frozenset(int(code) for code in ResultCode)
AT_ONCE_MAX: Final = 1_000
"""Requests without an answer; those beyond it are answered `timeout` at once."""

_request: Final = msgspec.msgpack.Decoder(SessionRequest).decode


class SessionRequestSender:
    """`trouble`: what the client raises; redis itself is imported where it is made."""

    def __init__(self, node: Node, redis: Redis, trouble: tuple[type[Exception], ...]) -> None:
        self._node, self._redis, self._trouble = node, redis, trouble
        self._counts = node.meter.counts(metrics.SESSION_ASKED)
        self._waiting: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listens until it is cancelled, through every failure of Redis."""
        told = False
        while True:
            try:
                async with listening(self._redis) as heard:
                    await heard.subscribe(keys.SESSION_REQUESTS)
                    told = False
                    async for message in heard.listen():
                        if message["type"] == "message":
                            self._begin(message["data"])
            except self._trouble as why:
                if not told:
                    told = True
                    logger().warning("session_request.not_listening", why=str(why))
            await asyncio.sleep(RETRY_S)

    def _begin(self, data: bytes) -> None:
        try:
            request = _request(data)
        except msgspec.MsgspecError as why:
            logger().error("session_request.not_understood", why=str(why))
            return
        task = asyncio.ensure_future(self._serve(request))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _serve(self, request: SessionRequest) -> None:
        try:
            receipt = await self._ask(request)
            if receipt is not None:
                await self._redis.publish(receipts(request.id), msgspec.msgpack.encode(receipt))
        except self._trouble as why:
            logger().warning("session_request.lost", kind=request.kind, why=str(why))

    async def _ask(self, request: SessionRequest) -> RequestReceipt | None:
        """None when another worker with a connection to the same peer was faster."""
        host = next((host for host in (request.via, request.peer) if host and self._node.is_connected(host)), "")
        if not host:
            return RequestReceipt(request.id, NO_ROUTE)
        if not await self._redis.set(f"{receipts(request.id)}:sent", 1, nx=True, px=int(ANSWER_S * 2_000)):
            return None
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def answered(frame: bytes | None) -> None:
            if not answer.done():
                answer.set_result(frame)

        result: int | str = NO_ROUTE
        by = ""
        if len(self._waiting) > AT_ONCE_MAX:
            result = TIMEOUT
        elif self._node.request(host, self._message(request), answered):
            try:
                async with asyncio.timeout(ANSWER_S):
                    result, by = _result(await answer, self._node.peers.profile(host).ignored)
            except TimeoutError:
                result = TIMEOUT
        self._counts[request.kind, self._node.peers.name(request.peer), _result_label(result)] += 1
        return RequestReceipt(request.id, result, host, by)

    def _message(self, request: SessionRequest) -> DiameterCommand:
        local = self._node.local
        name = keys.session_name(request.session)
        if request.kind == "asr":
            return AbortSessionRequest(
                session_id=name.session_id,
                origin_host=local.origin_host,
                origin_realm=local.origin_realm,
                destination_realm=request.realm,
                destination_host=request.peer,
                auth_application_id=APPLICATION,
            )
        return ReAuthRequest(
            session_id=name.session_id,
            origin_host=local.origin_host,
            origin_realm=local.origin_realm,
            destination_realm=request.realm,
            destination_host=request.peer,
            auth_application_id=APPLICATION,
            re_auth_request_type=ReAuthRequestType.AUTHORIZE_ONLY,
            cc_sub_session_id=name.sub_session,
            rating_group=request.rating_group,
        )


def _result(frame: bytes | None, ignored: frozenset[int]) -> tuple[int | str, str]:
    """The result of a request, and the Origin-Host that sent it."""
    if frame is None:  # the connection ended
        return TIMEOUT, ""
    try:
        answer = DICTIONARY.decode(frame, ignored)
    except ProtocolError as error:
        return int(error.result_code), ""
    code: int | None = getattr(answer, "result_code", None)
    experimental = getattr(answer, "experimental_result", None)
    if code is None and experimental is not None:
        code = experimental.experimental_result_code
    return int(code if code is not None else ResultCode.UNABLE_TO_COMPLY), getattr(answer, "origin_host", None) or ""


def _result_label(result: int | str) -> str:
    """Result-Codes we know; a peer may say anything."""
    return str(result) if isinstance(result, str) or result in _CODES else "other"
