"""What those who trace see of Diameter connections: requests with their answers, and the messages of peers as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ocs.clock import monotonic_us
from ocs.net.diameter.connection import DiameterConnection
from ocs.tracing.hidden import diameter_hidden
from ocs.tracing.matching import WhoAndWhat
from ocs.tracing.traced_request import TracedRequest
from ocs.tracing.tracer import Tracer
from protocol.diameter.dictionary.base import ORIGIN_HOST, SESSION_ID
from protocol.diameter.header import REQUEST, SIZE
from protocol.diameter.peek import first

PROTOCOL: Final = "diameter"
FIRST_CODE: Final = slice(SIZE, SIZE + 4)
SESSION: Final = SESSION_ID.code.to_bytes(4, "big")


class DiameterSightings:
    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self._last = b""

    def request(
        self, frame: bytes, link: DiameterConnection, about: Callable[[], WhoAndWhat | None]
    ) -> TracedRequest | None:
        """A request that is to be served; None: nobody wants to see it."""
        return self._seen(frame, link, about, link.heard_us)

    def received(self, frame: bytes, link: DiameterConnection) -> None:
        """What the peer machine deals with by itself, or answers a request of ours."""
        if frame is self._last:  # it made several things happen
            return
        self._last = frame
        trace = self._seen(frame, link, _nobody, link.heard_us)
        if trace is not None:
            trace.over()

    def sent(self, octets: bytes, link: DiameterConnection) -> None:
        """A request of ours, or an answer of the peer machine."""
        trace = self._seen(octets, link, _nobody, monotonic_us(), ours=True)
        if trace is not None:
            trace.over()

    def _seen(
        self,
        frame: bytes,
        link: DiameterConnection,
        about: Callable[[], WhoAndWhat | None],
        heard_us: int,
        *,
        ours: bool = False,
    ) -> TracedRequest | None:
        names = (link.peer_host, link.peer_name, link.address, first(frame, ORIGIN_HOST.code).decode(errors="replace"))
        session_id = b""
        if frame[FIRST_CODE] == SESSION:
            session_id = frame[SIZE + 8 : SIZE + int.from_bytes(frame[SIZE + 5 : SIZE + 8], "big")]
        watched = self.tracer.wanting(frame, names, about, session_id)
        if not watched:
            return None
        trace = self.tracer.request(watched, PROTOCOL, link.peer_host, link.ours, link.theirs, heard_us)
        trace.sighting.ours = ours
        trace.sighting.session = session_id.decode(errors="replace")
        shown = diameter_hidden(frame)
        if frame[4] & REQUEST:
            trace.received(shown)
        else:
            trace.answered(shown)
        return trace


def _nobody() -> None:
    """Messages of peers are about a session, or about nothing."""
