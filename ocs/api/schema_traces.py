"""What the API gives of traces: requests as they are served."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from ocs.api.texts import Time
from ocs.patterns import looks

Sought = Annotated[str, looks(r"[^\x00-\x1f]+", "a text without control characters", max_length=512)]


class TraceWanted(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of them."""

    subscriber: Sought | None = None
    """Id, or an identity in any spelling: a number, an address, a user name. Also of nobody known."""
    peer: Sought | None = None
    """Origin-Host, address, addresses of a RADIUS client as configured, or a caller of HTTP charging."""
    session: Sought | None = None
    """Session-Id, or our key of the session."""


class TraceView(Struct, frozen=True):
    id: str
    caller: str
    """Who watches."""
    began: Time
    until: Time
    """It ends then, unless its viewer is still there."""
    subscriber: str | None
    peer: str | None
    session: str | None
    identities: list[str]
    """Whose requests are shown."""
    known: bool | None
    """Whether a subscriber is known by `subscriber`: requests of one that is not are shown too, and why they are
    refused. Null: none was asked for, or PostgreSQL does not answer."""


class TracePage(Struct, frozen=True):
    items: list[TraceView]


class MessageView(Struct, frozen=True):
    at_us: int
    """Microseconds since 1970, by the clock of the host."""
    octets: str
    """Base64; passwords, and what they and shared secrets could be guessed from, are zero. Of HTTP its body."""
    decoded: list[str]


class TracedLine(Struct, frozen=True):
    """A line of a request, and what was decided of it."""

    rating_group: int
    """-1: none was named."""
    service_id: int
    """-1: none was named."""
    unit: str
    reported: list[str]
    asked: str | None
    """None: nothing; "default": as the service says."""
    tariff: str | None
    """Tariff, version and rows that price it; None: it has no price."""
    price: list[str]
    """Step by step."""
    result: str | None
    granted: str | None
    validity_s: int | None
    final: bool
    cost: str | None
    """What this request cost in this line..."""
    session_cost: str | None
    """... and the line so far."""


class TracedCall(Struct, frozen=True):
    """A call to the live store. Most requests need one."""

    account: str
    subscriber: str
    service: str
    phase: str
    status: str
    """What the store said; `ok`: it was done, `again`: it is the stored answer to a repeat, "": no reply came."""
    error: str | None
    marks: list[str]
    """What was unusual."""
    result: str | None
    lines: list[TracedLine]
    cost: str | None
    """What was debited by it."""
    balance: str | None
    """Own money after it; what is held is not subtracted."""
    us: int | None
    """Until the reply."""


class TraceTimes(Struct, frozen=True):
    """Microseconds in each step; None: it did not come to it."""

    wait: int
    """Until its turn was."""
    decode: int | None
    rate: int | None
    store: int | None
    """All calls together."""
    encode: int | None
    """From the last reply until the answer was written."""
    total: int | None


class SightingView(Struct, frozen=True):
    host: str
    process: str
    dropped: int
    """Requests of this trace that this process had no room for so far."""
    missed: int
    """Those of all processes that this viewer was too slow for so far."""
    protocol: Literal["diameter", "radius", "http"]
    ours: bool
    """It went from us to the peer."""
    peer: str
    local: tuple[str, int]
    remote: tuple[str, int]
    session: str
    identities: list[str]
    request: MessageView | None
    answer: MessageView | None
    silent: str | None
    """Why there is no answer."""
    calls: list[TracedCall]
    times: TraceTimes
