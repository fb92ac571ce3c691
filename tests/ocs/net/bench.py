"""What the skin costs: CPU per request of a worker's Diameter side with a handler that does nothing, at saturation, one
connection and 64 requests in flight; beside it a bare uvloop echo of the same octets.

    python -m tests.ocs.net.bench [seconds]
"""

import asyncio
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from balances.redis.pending import Pending
from balances.structs.charge import Result
from ocs.charging.request import ChargingAnswer, GrantedLine, Units
from ocs.net.admission import Admission
from ocs.net.diameter.credit_control import CreditControl
from ocs.net.diameter.node import Node
from ocs.net.diameter.origins import Origins
from ocs.net.diameter.peers import Peers
from ocs.telemetry.log import setup
from ocs.telemetry.metrics import Meter
from protocol.diameter.dictionary.credit_control import (
    CreditControlAnswer,
    CreditControlRequest,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
    UsedServiceUnit,
)
from protocol.errors import ResultCode
from tests.ocs.net.world import LOCAL, SHOP, ccr, cer

IN_FLIGHT = 64
LINE = GrantedLine(10, None, Result.OK, Units(octets=1_048_576), 600)
ANSWER = ChargingAnswer(Result.OK, (LINE,))


def request() -> bytes:
    return ccr(
        7,
        session="pgw.example.net;1700000000;7;9",
        subscription_id=(
            SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data="491700000001"),
        ),
        multiple_services_credit_control=(
            MultipleServicesCreditControl(
                rating_group=10,
                requested_service_unit=RequestedServiceUnit(cc_total_octets=1_048_576),
                used_service_unit=(UsedServiceUnit(cc_total_octets=1_000_000),),
            ),
        ),
    )


async def at_once(_request: object, _shop: object, now_ms: int) -> ChargingAnswer:
    return ANSWER


class Batch:
    """Answers the next turn, all together, as a pipelined store does."""

    def __init__(self) -> None:
        self.waiting: list[Pending[None]] = []

    async def handle(self, _request: object, _shop: object, now_ms: int) -> ChargingAnswer:
        pending = Pending[None]()
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self.reply)
        self.waiting.append(pending)
        await pending
        return ANSWER

    def reply(self) -> None:
        waiting, self.waiting = self.waiting, []
        for pending in waiting:
            pending.resolve(None)


class Fixed:
    """A CCA made once; only the ids are put in."""

    def __init__(self) -> None:
        cca = a_cca()
        self.head, self.tail = cca[:12], cca[20:]

    def __call__(self, _ccr: object, _answer: object, _local: object) -> "Fixed":
        return self

    def answer(self, ccr: CreditControlRequest) -> bytes:
        return self.head + ccr.frame[12:20] + self.tail


def a_cca() -> bytes:
    asked = CreditControlRequest.decode(request())
    return CreditControlAnswer(
        session_id=asked.session_id, result_code=ResultCode.SUCCESS, origin_host=LOCAL.origin_host,
        origin_realm=LOCAL.origin_realm, auth_application_id=4, cc_request_type=asked.cc_request_type,
        cc_request_number=asked.cc_request_number,
        multiple_services_credit_control=(
            MultipleServicesCreditControl(
                rating_group=10, granted_service_unit=GrantedServiceUnit(cc_total_octets=1_048_576),
                validity_time=600, result_code=ResultCode.SUCCESS,
            ),
        ),
    ).answer(asked)  # fmt: skip


class Silent:
    node: Node

    def claim(self, connection: int, origin_host: str, several: int) -> None:
        self.node.verdict(connection, True)

    def closed(self, connection: int) -> None: ...


class Nowhere:
    """A live store that is told nothing here: no request says an Origin-State-Id."""

    def command(self, *words: str | bytes | int) -> Pending[Any]:
        return Pending()


async def serve_node(end: socket.socket, handle: Any) -> None:
    arbiter = Silent()
    admission = Admission(2_000, 1_000)
    node = arbiter.node = Node(
        LOCAL, Peers((), admit_loopback=True), Meter(), arbiter,
        lambda node: CreditControl(
            node, admission, SHOP, Origins(Nowhere(), lambda _host: False),
            handle=handle, to_request=lambda ccr, via, settings: ccr,  # type: ignore[arg-type,return-value]
            to_cca=Fixed(),  # type: ignore[arg-type]
        ),
    )  # fmt: skip
    link = await node.adopt(end, 1, "127.0.0.1")
    assert link is not None
    await link.gone.wait()


class Echo(asyncio.Protocol):
    """The floor: the same octets back, nothing read in them."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()


async def serve_echo(end: socket.socket) -> None:
    echo = Echo()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: echo, end)
    await echo.gone.wait()


def measure(name: str, serve: Callable[[socket.socket], Any], hello: bytes, seconds: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        setup("error", "json")
        end, _ = listener.accept()
        end.setblocking(False)
        uvloop.run(serve(end))
        os._exit(0)
    client = socket.create_connection(listener.getsockname())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hello:
        client.sendall(hello)
        client.recv(4_096)
    frame = request()
    client.sendall(frame)
    size = len(client.recv(4_096))
    done = carry = 0
    until = time.monotonic() + seconds
    client.sendall(frame * IN_FLIGHT)
    while time.monotonic() < until:
        got = len(client.recv(262_144)) + carry
        whole, carry = divmod(got, size)
        done += whole
        client.sendall(frame * whole)
    client.close()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    os.waitpid(pid, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    rate = done / seconds
    print(
        f"{name:34} {rate:9.0f}/s  {(user + system) / done * 1e6:6.2f} us each"
        f"  ({user / done * 1e6:.2f} user), {len(frame)} and {size} octets"
    )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    measure("bare echo", serve_echo, b"", seconds)
    measure("skin, handler answers at once", lambda end: serve_node(end, at_once), cer(), seconds)
    measure("skin, handler awaits one Pending", lambda end: serve_node(end, Batch().handle), cer(), seconds)


if __name__ == "__main__":
    main()
