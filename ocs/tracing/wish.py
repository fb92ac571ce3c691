"""What somebody wants to see of the requests that come: whose, of which peer, or of which session."""

from __future__ import annotations

from typing import Final

import msgspec

LEASE_MS: Final = 15_000
"""A trace ends so long after its viewer was last there."""
RENEW_S: Final = 4.0
"""How often a viewer that is there says so."""
TRACES_MAX: Final = 8
"""At the same time, of all hosts: each costs what it sees."""


class TraceWish(msgspec.Struct, frozen=True):
    """One of subscriber, peer and session is given."""

    id: str
    caller: str
    began_ms: int
    until_ms: int
    subscriber: str = ""
    """As it was asked for; `identities` and `sessions` say who that is."""
    identities: tuple[str, ...] = ()
    """As `ocs.charging.identity.canonical` spells them."""
    peer: str = ""
    """Origin-Host, an address, the addresses of a RADIUS client as configured, or the caller of HTTP charging."""
    session: str = ""
    """As it was asked for."""
    sessions: tuple[str, ...] = ()
    """Keys of sessions (`balances.keys.session_key`)."""
    known: bool | None = None
    """Whether a subscriber is known by what was asked for; None: none was, or PostgreSQL did not answer."""


pack_wish: Final = msgspec.msgpack.Encoder().encode
read_wish: Final = msgspec.msgpack.Decoder(TraceWish).decode
