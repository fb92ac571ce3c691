"""A connection as a traced request sees it: its answer is noted on the way out."""

from __future__ import annotations

from typing import Any, cast

from ocs.net.diameter.connection import DiameterConnection
from ocs.tracing.hidden import diameter_hidden
from ocs.tracing.traced_request import TracedRequest


class TracedLink:
    """Everything but `write` is the connection's own."""

    def __init__(self, link: DiameterConnection, trace: TracedRequest) -> None:
        self.__dict__.update(_link=link, _trace=trace)

    def write(self, octets: bytes) -> None:
        self.__dict__["_trace"].answered(diameter_hidden(octets))
        self.__dict__["_link"].write(octets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_link"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_link"], name, value)


def traced(link: DiameterConnection, trace: TracedRequest) -> DiameterConnection:
    """In the place of the connection, for this request."""
    return cast("DiameterConnection", TracedLink(link, trace))
