"""Secrets in the database: sealed by a key that is not in it, so that a copy of the database reveals none.

    sealing = Sealing(keys)
    sealing.seal("demo", about="subscriber 12") -> "sealed$<key>$<octets>"
    sealing.open(sealed, about="subscriber 12") -> "demo"

AES-256-GCM. What is sealed is bound to what it is about: a value that was copied to another row does not open there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ocs.config.tree import Config
from ocs.config.values import KEY_BYTES, Secret, key_of

MARK: Final = "sealed"
NONCE_BYTES: Final = 12
KEY_FILE: Final = "sealing.key"


class CannotOpen(ValueError):
    """It was sealed by a key that is not configured, is about something else, or is not sealed at all."""


class Sealing:
    """keys: 32 octets each. The first one seals, each of them opens: a new key goes in front, and the old one stays
    until nothing is sealed by it any more."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        named = [(_name(key), AESGCM(key)) for key in keys]
        if not named:
            raise ValueError("a key at least")
        self._first = named[0]
        self._by_name = dict(named)

    def seal(self, text: str, about: str) -> str:
        name, key = self._first
        nonce = os.urandom(NONCE_BYTES)
        octets = nonce + key.encrypt(nonce, text.encode(), about.encode())
        return f"{MARK}${name}${base64.b64encode(octets).decode()}"

    def open(self, sealed: str, about: str) -> str:
        """Raises CannotOpen."""
        mark, _, rest = sealed.partition("$")
        name, _, coded = rest.partition("$")
        if mark != MARK:
            raise CannotOpen("it is not sealed")
        key = self._by_name.get(name)
        if key is None:
            raise CannotOpen(f"it is sealed by the key {name}, which is not among `sealing_keys`")
        try:
            octets = base64.b64decode(coded, validate=True)
            return key.decrypt(octets[:NONCE_BYTES], octets[NONCE_BYTES:], about.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise CannotOpen("it was changed, or is about something else") from None


def _name(key: bytes) -> str:
    return hashlib.sha256(b"ocs sealing key " + key).hexdigest()[:8]


def sealing_of(config: Config) -> Sealing | None:
    """That of the configuration; else, where PostgreSQL is ours alone, by a key in the data directory that the first
    start makes. None: nothing can be sealed."""
    keys = [key_of(one.reveal()) for one in config.sealing_keys]
    if not keys and config.postgres.embedded:
        keys = [key_in(config.data)]
    return Sealing(keys) if keys else None


def with_key(config: Config) -> Config:
    """The configuration as other processes get it: they see where PostgreSQL is, and not that it is ours alone."""
    if config.sealing_keys or not config.postgres.embedded:
        return config
    return msgspec.structs.replace(config, sealing_keys=(Secret(key_in(config.data).hex()),))


def key_in(data: Path, name: str = KEY_FILE) -> bytes:
    """The key in a file of the data directory, which the first start makes."""
    path = data / name
    data.mkdir(parents=True, exist_ok=True)
    scratch = data / f"{name}.{secrets.token_hex(4)}"
    scratch.touch(0o600)
    try:
        scratch.write_text(secrets.token_bytes(KEY_BYTES).hex() + "\n", encoding="ascii")
        os.link(scratch, path)  # whole or not at all, and never over one that is there
    except FileExistsError:
        pass  # another process was first
    finally:
        scratch.unlink(missing_ok=True)
    return key_of(path.read_text(encoding="ascii"))
