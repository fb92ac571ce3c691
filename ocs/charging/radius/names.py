"""What sessions, NASes and holds of RADIUS are called in the store (charging.md section 8). Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

from ocs.charging.radius.class_mark import OURS
from ocs.charging.radius.nas import NasProfile
from protocol.radius.dictionary.standard import (
    ACCT_SESSION_ID,
    CALLING_STATION_ID,
    CLASS,
    NAS_IDENTIFIER,
    NAS_IP_ADDRESS,
    NAS_IPV6_ADDRESS,
    NAS_PORT,
    NAS_PORT_ID,
    USER_NAME,
)
from protocol.radius.packet import Packet

PARTS: Final = (3, 4)
IDENTIFICATION_MAX: Final = 512
"""Octets kept with each session: what is longer cannot be told anything, and ends by its Session-Timeout."""


def nas_name(packet: Packet) -> str:
    """As it names itself: its packets may come from another address. "" where it does not say."""
    found = packet.get(NAS_IDENTIFIER) or packet.get(NAS_IP_ADDRESS) or packet.get(NAS_IPV6_ADDRESS)
    return "" if found is None else str(found)


def client_name(nas: NasProfile, packet: Packet) -> str:
    """Who charges: what its sessions are kept under, and what restarts when it does."""
    return f"radius:{nas.group}:{nas_name(packet)}"


def session_name(nas: NasProfile, packet: Packet, acct_session_id: str) -> str:
    """The Acct-Session-Id in its name space. Which incarnation of it a packet is of, the store says."""
    return f"{client_name(nas, packet)};{acct_session_id}"


class SessionReference(NamedTuple):
    """What we give in Class, and find in accounting again: where the hold of the authorisation is, and which one it
    was."""

    port: str
    """Digest of who logged in where."""
    token: str
    user: str = ""
    """Who it is, where a home server said so and the NAS only has a pseudonym."""

    @property
    def hold(self) -> str:
        """The session that holds what was authorised, until the accounting session adopts it."""
        return hold_name(self.port)

    @property
    def octets(self) -> bytes:
        """The Class."""
        user = f".{self.user.encode().hex()}" if self.user else ""
        return f"{OURS}{self.port}.{self.token}{user}".encode()


def port_key(port: str) -> str:
    """Where the store remembers which session is open at a port; may be lost."""
    return f"radius-port:{port}"


def identification_of(packet: Packet, nas: NasProfile, session: str = "") -> str:
    """By what the NAS knows the session, exactly as it wrote it (field notes): attributes as hex.

    session:  its Acct-Session-Id, where that of the packet is of a service inside it
    """
    named = [pair for pair in packet.attributes if pair[0] in nas.names_session]
    octets = b"".join(
        ACCT_SESSION_ID.pack(session)
        if session and kind == ACCT_SESSION_ID.key
        else bytes((kind, len(value) + 2)) + value
        for kind, value in named
    )
    return octets.hex() if len(octets) <= IDENTIFICATION_MAX else ""


def hold_name(port: str) -> str:
    return f"radius-hold;{port}"


def port_digest(nas: NasProfile, packet: Packet) -> str:
    """Client, port, Calling-Station-Id and User-Name: who logs in there again replaces what was held before."""
    port = packet.get(NAS_PORT_ID)
    where = (client_name(nas, packet), str(packet.get(NAS_PORT)) if port is None else port)
    who = (packet.get(CALLING_STATION_ID) or "", packet.get(USER_NAME) or "")
    return blake2b("\0".join((*where, *who)).encode(), digest_size=10).hexdigest()


def reference_in(packet: Packet) -> SessionReference | None:
    """Our Class, None where the session was not authorised here."""
    for value in packet.get_all(CLASS):
        text = value.decode("ascii", "replace")
        if text.startswith(OURS):
            parts = text.split(".")
            if len(parts) in PARTS and all(part.isalnum() for part in parts):
                return SessionReference(parts[1], parts[2], _text_in("".join(parts[3:])))
    return None


def _text_in(digits: str) -> str:
    try:
        return bytes.fromhex(digits).decode()
    except ValueError:
        return ""
