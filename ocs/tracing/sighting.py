"""What a process saw of one request, as it is told to the viewer of a trace."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.structs.charge import Charge

Socket = tuple[str, int]


class SeenMessage(msgspec.Struct, array_like=True, frozen=True):
    """A message, without the secrets that were in it (hidden.py)."""

    octets: bytes
    at_us: int
    """Wall clock, microseconds since 1970."""


class StoreCall(msgspec.Struct, array_like=True):
    """One call to the live store: what was to be charged, and what came of it."""

    charge: Charge
    sent_us: int
    """Since the message came."""
    replied_us: int = -1
    """-1: nothing was replied before the request was over."""
    status: str = ""
    outcome: bytes = b""
    """Packed `Outcome` where the status has one."""
    marks: int = 0
    error: str = ""


class Sighting(msgspec.Struct, array_like=True):
    """A request with its answer, or a message that has none here."""

    host: str
    process: str
    dropped: int
    """Sightings of this trace that this process had no room for so far."""
    protocol: str
    """`diameter`, `radius` or `http`."""
    ours: bool
    """It went from us to the peer."""
    peer: str
    local: Socket
    remote: Socket
    request: SeenMessage | None = None
    answer: SeenMessage | None = None
    session: str = ""
    identities: tuple[str, ...] = ()
    calls: list[StoreCall] = []
    began_us: int = 0
    """Since the message came: when its turn was. Before that it waited."""
    decoded_us: int = -1
    """When it was understood; -1: it was refused before."""
    answered_us: int = -1
    why: str = ""
    """Why there is no answer, where that is known."""


pack_sighting: Final = msgspec.msgpack.Encoder().encode
read_sighting: Final = msgspec.msgpack.Decoder(Sighting).decode
