"""What an answer to a login carries because of how it was proven: by a password here, or by a home server. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from ocs.charging.radius.authorisation import said
from ocs.charging.radius.said_once import taken_apart, unsaid
from protocol.radius.dictionary.standard import CLASS, EAP_MESSAGE, SESSION_TIMEOUT, USER_NAME
from protocol.radius.packet import Packet
from protocol.radius.vendor import separate

EAP_FAILURE: Final = 4
USER_MAX: Final = 100
"""Octets of a user name that a Class can carry."""


class LoginProof(Protocol):
    """body: attributes of ours as octets"""

    def with_accept(self, body: bytes) -> bytes:
        """Attributes of the Access-Accept."""

    def with_reject(self, words: str) -> bytes:
        """Attributes of an Access-Reject for another reason than the proof."""


class PasswordProof(NamedTuple):
    """attributes: of the method of the password"""

    attributes: bytes

    def with_accept(self, body: bytes) -> bytes:
        return body + self.attributes

    def with_reject(self, words: str) -> bytes:
        return said(words)


class HomeProof(NamedTuple):
    """attributes: of the Access-Accept of a home server, hidden under the secret of the NAS"""

    attributes: list[tuple[int, bytes]]

    @property
    def _packet(self) -> Packet:
        return Packet(0, attributes=self.attributes)

    @property
    def user(self) -> str:
        """Who it is, as the home server says; "" where it does not, or where no Class could say it."""
        name = self._packet.get(USER_NAME) or ""
        return name if len(name.encode()) <= USER_MAX else ""

    def with_accept(self, body: bytes) -> bytes:
        """What we say counts before what the home server says, attribute by attribute; of two ends of the session the
        earlier one. Its Class is for accounting that it does not get."""
        ours = taken_apart(body)
        ends_s = self._packet.get(SESSION_TIMEOUT)
        if ends_s is not None:
            earlier = SESSION_TIMEOUT.pack(ends_s)
            ours = [
                (key, value, min(octets, earlier) if key == SESSION_TIMEOUT.key else octets)
                for key, value, octets in ours
            ]
        theirs = [one for one in unsaid(ours, separate(self.attributes)) if one[0] != CLASS.key]
        return b"".join(octets for _, _, octets in (*ours, *theirs))

    def with_reject(self, words: str) -> bytes:
        """The home server let the subscriber in, we do not: the conversation of EAP ends as the answer does (RFC 3579
        section 2.6.3), and there is no Reply-Message beside EAP (section 2.6.5)."""
        said_last = self._packet.raw(EAP_MESSAGE)
        if not said_last or len(said_last[0]) < 2:
            return said(words)
        return EAP_MESSAGE.pack(bytes((EAP_FAILURE, said_last[0][1], 0, 4)))
