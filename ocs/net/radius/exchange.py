"""One request of a NAS, from its octets to those of its answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

from ocs.clock import monotonic_us
from ocs.net.admission import Admission
from ocs.net.radius.clients import NasClient
from ocs.net.radius.conduct import Conduct
from ocs.net.radius.duplicates import DuplicateWindow, ExchangeKey
from ocs.net.step import Stepped
from protocol.radius.authenticator import answer
from protocol.radius.codes import PacketCode
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError

WANTED_US: Final = 10_000_000
"""An answer that is later than this is wanted by nobody (charging.md 11): whoever still wants it asks again."""


class RadiusReply(NamedTuple):
    """What is answered; Proxy-State and authenticators come with the packet."""

    code: PacketCode
    result: str
    """As it is counted."""
    body: bytes = b""
    """Attributes as octets."""


class Arrived(NamedTuple):
    """A packet that was proven, and where it came from."""

    packet: Packet
    client: NasClient
    source: tuple[str, int]
    at_ms: int
    at_us: int

    @property
    def key(self) -> ExchangeKey:
        return ExchangeKey(self.source, self.packet.identifier, self.packet.code)


def both(one: Callable[[str], None], other: Callable[[str], None]) -> Callable[[str], None]:
    """Tells two of them."""

    def tell(why: str) -> None:
        one(why)
        other(why)

    return tell


class AnswerSocket(Protocol):
    """The socket it came by."""

    def send(self, octets: bytes, source: tuple[str, int]) -> None: ...


class RadiusExchangeOwner(Protocol):
    """What an exchange asks of whom it is served by (`server.RadiusServer`)."""

    admission: Admission
    window: DuplicateWindow

    def count(self, arrived: Arrived, reply: RadiusReply) -> None: ...
    def drop(self, source: tuple[str, int], client: NasClient | None, why: str, words: str) -> None: ...
    def silence(self, why: str) -> None: ...
    def violated(self, arrived: Arrived, bug: Exception) -> None: ...


class RadiusExchange(Stepped[RadiusReply | None]):
    __slots__ = ("_arrived", "_by", "_conduct", "_owner", "_report")

    def __init__(
        self,
        owner: RadiusExchangeOwner,
        by: AnswerSocket,
        arrived: Arrived,
        handled: Coroutine[Any, Any, RadiusReply | None],
        conduct: Conduct,
        *,
        report: bool,
    ) -> None:
        """report: of use, which admission counts by itself"""
        self._owner, self._by, self._arrived, self._report = owner, by, arrived, report
        self._conduct = conduct
        conduct.in_flight += 1
        owner.admission.take(report)
        super().__init__(handled)

    def done(self, reply: RadiusReply | None) -> None:
        owner, arrived = self._owner, self._arrived
        self._conduct.in_flight -= 1
        owner.admission.off(self._report)
        packet = arrived.packet
        if reply is None:  # when it comes again it is decided anew
            owner.window.forget(arrived.key, packet.authenticator)
            return
        try:
            # FreeRADIUS reckons a Message-Authenticator in an Accounting-Response otherwise than RFC 3579 says, and
            # drops ours; that answer needs none, its own authenticator proves all that it says.
            signed = reply.code != PacketCode.ACCOUNTING_RESPONSE
            octets = answer(packet, reply.code, arrived.client.secret, reply.body, sign=signed)
            owner.window.done(arrived.key, packet.authenticator, octets)
            if monotonic_us() - arrived.at_us > WANTED_US:
                owner.silence("too late")
                return
            self._by.send(octets, arrived.source)
            owner.count(arrived, reply)
        except Exception as bug:
            owner.violated(arrived, bug)

    def failed(self, error: Exception) -> None:
        owner, arrived = self._owner, self._arrived
        self._conduct.in_flight -= 1
        owner.admission.off(self._report)
        owner.window.forget(arrived.key, arrived.packet.authenticator)
        if isinstance(error, RadiusError):
            owner.drop(arrived.source, arrived.client, error.reason, error.why)
        else:
            owner.violated(arrived, error)
