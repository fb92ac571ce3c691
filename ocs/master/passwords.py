"""Passwords of subscribers, as they lie in PostgreSQL and in the projection: never in clear.

    sealed$...               can be opened by who has the key: for CHAP and MS-CHAP, which need the password itself
    scrypt$<salt>$<hash>     where there is no key: a password can be compared with it (PAP), and nothing else

What is written depends on whether there is a key when the password is set (`sealing_keys`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Final

from ocs.master.sealing import MARK as SEALED
from ocs.master.sealing import CannotOpen, Sealing

HASHED: Final = "scrypt"
COST: Final = {"n": 2**14, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 32}
"""16 MiB and some 40 ms of a core for each comparison: for 200,000 hours, so who imports many has a key."""


class StoredPasswords:
    """sealing: None where there is no key; new passwords are hashed then."""

    def __init__(self, sealing: Sealing | None) -> None:
        self._sealing = sealing

    @property
    def seals(self) -> bool:
        """Whether passwords that are set now serve CHAP and MS-CHAP too."""
        return self._sealing is not None

    def stored(self, password: str, subscriber: str) -> str:
        """As it is kept. Where it is hashed this takes tens of milliseconds."""
        if self._sealing is not None:
            return self._sealing.seal(password, _about(subscriber))
        salt = os.urandom(16)
        return f"{HASHED}${_coded(salt)}${_coded(_hash(password, salt))}"

    def clear(self, stored: str, subscriber: str) -> str | None:
        """The password itself; None where it is hashed. Raises CannotOpen."""
        if stored.partition("$")[0] == HASHED:
            return None
        if self._sealing is None:
            raise CannotOpen("it is sealed, and there are no `sealing_keys`")
        return self._sealing.open(stored, _about(subscriber))

    def matches(self, stored: str, subscriber: str, password: str) -> bool:
        """Whether this is the password. Raises CannotOpen. Where it is hashed this takes tens of milliseconds."""
        kind, _, rest = stored.partition("$")
        if kind == HASHED:
            salt, _, wanted = rest.partition("$")
            return hmac.compare_digest(_hash(password, base64.b64decode(salt)), base64.b64decode(wanted))
        return hmac.compare_digest((self.clear(stored, subscriber) or "").encode(), password.encode())


def is_stored(text: str) -> bool:
    """Whether it looks like what `stored` makes."""
    return text.partition("$")[0] in (HASHED, SEALED)


def _about(subscriber: str) -> str:
    return f"password of subscriber {subscriber}"


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **COST)


def _coded(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
