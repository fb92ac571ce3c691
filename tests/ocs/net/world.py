"""A Node on the loop of the test, an arbiter beside it, and clients that know nothing but octets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

from balances.redis.pending import Pending, ended
from balances.structs.charge import Result
from ocs.charging.handle import ChargingContext
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.settings import ChargingSettings
from ocs.clock import monotonic_ms
from ocs.config.diameter import PeerConfig, PeerProfile
from ocs.net.admission import Admission
from ocs.net.diameter.claims import Claims, Holder
from ocs.net.diameter.connection import DiameterConnection
from ocs.net.diameter.credit_control import CreditControl
from ocs.net.diameter.node import Node
from ocs.net.diameter.origins import Origins
from ocs.net.diameter.peers import Peers
from ocs.telemetry.metrics import Meter
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import (
    CapabilitiesExchangeAnswer,
    CapabilitiesExchangeRequest,
    DeviceWatchdogRequest,
    DisconnectCause,
    DisconnectPeerRequest,
)
from protocol.diameter.dictionary.credit_control import CcRequestType, CreditControlRequest
from protocol.diameter.frames import FrameBuffer
from protocol.diameter.message import DiameterCommand
from protocol.diameter.peer import LocalPeer, Timers
from protocol.diameter.types import HostAddress
from protocol.errors import ResultCode
from tariffs.catalog import Catalog

LOCAL = LocalPeer("ocs.example.net", "example.net", (HostAddress(1, b"\x7f\0\0\1"),), origin_state_id=7)
LISTED = (
    PeerConfig(origin_host="one.example.net", connections=1),
    PeerConfig(origin_host="two.example.net", connections=2),
    PeerConfig(origin_host="far.example.net", addresses=("203.0.113.0/24",)),
    PeerConfig(origin_host="strange.example.net", profile=PeerProfile(ignore_vendors=("huawei", 4242))),
)
REMARKS: list[tuple[str, str]] = []
"""What the store was told of peers."""
STORE = SimpleNamespace(remark=lambda peer, mark: REMARKS.append((peer, mark)))
SHOP = cast(ChargingContext, SimpleNamespace(settings=ChargingSettings(), catalog=Catalog(), store=STORE))
FAST = Timers(capabilities_ms=600, watchdog_ms=30_000, disconnect_ms=600)


class Stub:
    """A handler that answers at once, or when told."""

    def __init__(self) -> None:
        self.requests: list[CreditControlRequest] = []
        self.hold = False
        self.waiting: list[Pending[Any]] = []
        self.raises: Exception | None = None
        self.answer: ChargingAnswer | Busy | None = ChargingAnswer(Result.OK, ())

    async def handle(
        self, request: ChargingRequest, _shop: object, now_ms: int, *, urgent_only: bool = False
    ) -> ChargingAnswer | Busy | None:
        assert now_ms > 1_700_000_000_000
        self.requests.append(cast(CreditControlRequest, request))
        if self.raises is not None:
            raise self.raises
        if self.hold:
            self.waiting.append(Pending())
            await self.waiting[-1]
        return self.answer

    def to_request(self, ccr: CreditControlRequest, via: str, _settings: ChargingSettings) -> ChargingRequest:
        assert via
        ccr.__dict__["inputs"] = SimpleNamespace(service="data")
        return cast(ChargingRequest, ccr)


class World:
    """One or more nodes ("workers") behind one listening socket, and the arbiter between them."""

    def __init__(self) -> None:
        self.stub, self.meter, self.admission = Stub(), Meter(), Admission(1_000, 500)
        self.nodes: list[Node] = []
        self.next_node = 0
        self.port = 0
        self.links: list[DiameterConnection] = []
        self.clients: list[OctetPeer] = []
        self._number = 0
        self.claims = Claims(self._probe, self._verdict)
        self.told: list[tuple[str | bytes | int, ...]] = []
        """Commands to the live store."""
        self.replies: dict[str, Any] = {}
        """By the first word; None for all others."""
        self.origins = Origins(self, lambda host: host == "ignored.example.net")

    def command(self, *words: str | bytes | int) -> Pending[Any]:
        self.told.append(words)
        pending = Pending[Any]()
        pending.resolve(self.replies.get(str(words[0])))
        return pending

    def add_node(self, timers: Timers = FAST, message_bytes_max: int = 65_536) -> Node:
        index = len(self.nodes)
        world = self

        class Arbiter:
            def claim(self, connection: int, origin_host: str, several: int) -> None:
                holder = Holder(index, connection)
                asyncio.get_running_loop().call_later(
                    0.01, lambda: world.claims.claim(holder, origin_host, several, monotonic_ms())
                )

            def closed(self, connection: int) -> None:
                world.claims.closed(Holder(index, connection))

        stub = self.stub
        node = Node(
            LOCAL,
            Peers(LISTED, admit_loopback=True),
            self.meter,
            Arbiter(),
            lambda node: CreditControl(
                node,
                self.admission,
                SHOP,
                self.origins,
                handle=stub.handle,
                to_request=stub.to_request,
            ),
            timers=timers,
            message_bytes_max=message_bytes_max,
            origin_state=self.origins.note,
        )
        self.nodes.append(node)
        return node

    def _probe(self, holder: Holder, claim: int) -> None:
        self.nodes[cast(int, holder.child)].probed(holder.connection, lambda alive: self.claims.probed(claim, alive))

    def _verdict(self, holder: Holder, granted: bool) -> None:
        self.nodes[cast(int, holder.child)].verdict(holder.connection, granted)

    async def take(self, end: Any, address: str) -> None:
        self._number += 1
        node = self.nodes[self.next_node % len(self.nodes)]
        link = await node.adopt(end, self._number, address)
        if link is not None:
            self.links.append(link)

    async def client(self) -> "OctetPeer":
        client = await OctetPeer.connect(self.port)
        self.clients.append(client)
        return client

    def count(self, name: str, *labels: str) -> int:
        return next((s.values[0] for s in self.meter.snapshot() if (s.name, s.labels) == (name, labels)), 0)


@contextlib.asynccontextmanager
async def world(nodes: int = 1, **options: Any) -> AsyncIterator[World]:
    found = World()
    for _ in range(nodes):
        found.add_node(**options)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    found.port = listener.getsockname()[1]
    loop = asyncio.get_running_loop()
    tasks = set()

    async def accept() -> None:
        while True:
            end, (host, _) = await loop.sock_accept(listener)
            tasks.add(asyncio.ensure_future(found.take(end, host)))

    acceptor = asyncio.ensure_future(accept())
    try:
        yield found
    finally:
        await ended((acceptor,))
        listener.close()
        for node in found.nodes:
            await node.drain(0.05)
        for client in found.clients:
            await client.gone()


class OctetPeer:
    """A peer made of octets: sends what it is told, reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._buffer = FrameBuffer()
        self._frames: list[bytes] = []

    @classmethod
    async def connect(cls, port: int) -> "OctetPeer":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, *octets: bytes) -> None:
        self.writer.write(b"".join(octets))

    async def frame(self, timeout_s: float = 30.0) -> bytes:
        """The next frame, b"" at the end of the connection."""
        async with asyncio.timeout(timeout_s):
            while not self._frames:
                try:
                    data = await self.reader.read(65_536)
                except ConnectionError:
                    data = b""
                if not data:
                    return b""
                self._frames += self._buffer.feed(data)
        return self._frames.pop(0)

    async def message(self, timeout_s: float = 30.0) -> DiameterCommand:
        frame = await self.frame(timeout_s)
        assert frame, "the connection was closed"
        return DICTIONARY.decode(frame)

    async def closed(self, timeout_s: float = 30.0) -> None:
        frame = await self.frame(timeout_s)
        assert frame == b"", DICTIONARY.decode(frame)

    async def open(self, origin_host: str = "pgw.example.net") -> "OctetPeer":
        self.send(cer(origin_host))
        cea = await self.message()
        assert isinstance(cea, CapabilitiesExchangeAnswer)
        assert cea.result_code == ResultCode.SUCCESS
        return self

    def end(self) -> None:
        self.writer.close()

    async def gone(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def cer(origin_host: str = "pgw.example.net", **fields: Any) -> bytes:
    message = CapabilitiesExchangeRequest(
        **{
            "origin_host": origin_host,
            "origin_realm": "example.net",
            "vendor_id": 0,
            "product_name": "test",
            "auth_application_id": (4,),
            **fields,
        }
    )
    return message.encode(hop_by_hop=1, end_to_end=1)


def ccr(number: int = 0, session: str = "pgw.example.net;1;1", **fields: Any) -> bytes:
    message = CreditControlRequest(
        **{
            "session_id": session,
            "origin_host": "pgw.example.net",
            "origin_realm": "example.net",
            "destination_realm": "example.net",
            "auth_application_id": 4,
            "service_context_id": "32251@3gpp.org",
            "cc_request_type": CcRequestType.UPDATE_REQUEST,
            "cc_request_number": number,
            **fields,
        }
    )
    return message.encode(hop_by_hop=100 + number, end_to_end=200 + number)


def dwr(origin_host: str = "pgw.example.net") -> bytes:
    message = DeviceWatchdogRequest(origin_host=origin_host, origin_realm="example.net")
    return message.encode(hop_by_hop=5, end_to_end=5)


def dpr(origin_host: str = "pgw.example.net") -> bytes:
    message = DisconnectPeerRequest(
        origin_host=origin_host, origin_realm="example.net", disconnect_cause=DisconnectCause.REBOOTING
    )
    return message.encode(hop_by_hop=6, end_to_end=6)


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)
