"""Types of configuration values: secrets, listening addresses, addresses of stores."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

EMPTY: Final = "a value, but it is empty: leave the key out for its default"

EMBEDDED: Final = "embedded"
"""As a store's address: our own server in the data directory."""


class Secret:
    """A value that is shown to nobody by accident: `file:PATH`, `env:NAME`, or the text itself. An empty one is a
    mistake (a variable nobody set, a file nobody filled) and never means a default."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def read(cls, text: str) -> Self:
        kind, _, where = text.partition(":")
        if kind == "file":
            try:
                found = Path(where).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as why:
                raise ValueError(f"a readable file after `file:`, but {why}") from None
            if not found:
                raise ValueError(f"a secret in the file after `file:`, but {where} is empty")
            return cls(found)
        if kind == "env":
            if where not in os.environ:
                raise ValueError(f"an environment variable after `env:`, but {where or 'no name'} is not set")
            if not os.environ[where].strip():
                raise ValueError(f"a secret in the environment variable after `env:`, but {where} is empty")
            return cls(os.environ[where])
        if not text.strip():
            raise ValueError(EMPTY)
        return cls(text)

    def reveal(self) -> str:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__


class Listen(str):
    """`host:port` to listen on; port 0 lets the system choose. `OFF` is falsy."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        if text == "off":
            return cls()
        host, colon, port = text.rpartition(":")
        if not colon or not host.strip("[]") or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
            raise ValueError("`host:port` with a port from 0 to 65535, or `off`")
        return cls(text)

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


def missing_in(url: str) -> str:
    """What a store's address lacks, "" for nothing. A client fills in a place of its own: a variable that was empty
    when the address was put together would lead to another store, or to this one without its password."""
    try:
        parts = urlsplit(url)
        queried = [value for name, value in parse_qsl(parts.query) if name == "host"]
    except ValueError:
        return "a host that can be read"
    if parts.scheme == "unix":
        return "" if parts.path.strip("/") or parts.netloc else "the path of its socket"
    if not parts.hostname and not queried:
        return "a host"
    return "the password that its `:` promises" if parts.password == "" else ""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses or networks as written in the file."""
    found: list[Network] = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"an IP address or network, not {text!r}") from None
        if ipaddress.ip_interface(text).ip != network.network_address:  # one host is meant, or all of these
            raise ValueError(f"{text.partition('/')[0]} alone or the network {network}, not {text!r}")
        found.append(network)
    return tuple(found)


KEY_BYTES: Final = 32


def key_of(text: str) -> bytes:
    """A key as it is written: 32 octets in hex or base64. ValueError for anything else."""
    for read in (bytes.fromhex, lambda word: base64.b64decode(word, validate=True)):
        try:
            key = read(text.strip())
        except ValueError:
            continue
        if len(key) == KEY_BYTES:
            return key
    raise ValueError("32 octets in hex or base64, such as `openssl rand -hex 32` writes")
