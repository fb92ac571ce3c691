"""A table of peers with a hand on the clock, and short names for what comes out."""

from typing import Any

from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import CapabilitiesExchangeRequest
from protocol.diameter.message import DiameterCommand
from protocol.diameter.peer import Action, Actions, LocalPeer, PeerConnection, PeerTable, Send, Timers
from protocol.diameter.types import HostAddress
from tests.protocol.messages import cer

LOCAL = LocalPeer(
    origin_host="ocs.example.net",
    origin_realm="example.net",
    host_ip_addresses=(HostAddress.of("127.0.0.1"),),
    origin_state_id=77,
)
TW = 30_000


class World:
    """`now` moves only by hand. `said` is everything that came out, as words."""

    def __init__(self, *, local: LocalPeer = LOCAL, several: bool = False, known: bool = True) -> None:
        self.now = 1_000
        self.asked: list[str] = []

        def admit(request: CapabilitiesExchangeRequest) -> bool:
            self.asked.append(request.origin_host)
            return known

        self.table = PeerTable(
            local, Timers(), admit=admit, several=lambda host: several, jitter_ms=lambda: 0, end_to_end=1000
        )

    def wait(self, ms: int) -> list[str]:
        """Let time pass, ticking whenever the table wants to."""
        end, said = self.now + ms, []
        while (due := self.table.next_tick_ms) is not None and due <= end:
            self.now = max(due, self.now)
            said += words(self.table.tick(self.now))
        self.now = end
        return said

    def open(self, **keywords: Any) -> PeerConnection:
        connection = self.table.accepted(self.now)
        said = words(connection.received(cer(**keywords), self.now))
        assert said[:2] == ["Send CapabilitiesExchangeAnswer 2001", "PeerUp"], said
        return connection


def word(action: Action) -> str:
    name = type(action).__name__
    if isinstance(action, Send):
        message = sent(action)
        code = getattr(message, "result_code", None)
        return f"Send {type(message).__name__}" + (f" {code}" if code is not None else "")
    return name


def words(actions: Actions) -> list[str]:
    return [word(action) for action in actions]


def sent(action: Action) -> DiameterCommand:
    assert isinstance(action, Send)
    return DICTIONARY.decode(action.octets)
