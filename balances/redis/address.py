"""Where the live store is: one URL, of one server, of a cluster, or of what Sentinels watch.

    redis://[user:password@]host[:port][/database]                         rediss:// over TLS; unix:///path
    redis+cluster://[user:password@]host[:port][,...]                      rediss+cluster:// over TLS
    redis+sentinel://[user:password@]host[:port][,...]/service[/database]  rediss+sentinel:// over TLS

Hosts of a cluster, and Sentinels, are those that are asked first: one that answers is enough. Over TLS:
`?ssl_ca_certs=FILE`, and `ssl_certfile` and `ssl_keyfile` for a certificate of our own. Sentinels that ask for a
password of their own: `?sentinel_username=...&sentinel_password=...`.
"""

from __future__ import annotations

import ssl
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

PORT: Final = 6379
SENTINEL_PORT: Final = 26379

Kind = Literal["plain", "cluster", "sentinel"]

KINDS: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("plain", False),
    "rediss": ("plain", True),
    "unix": ("plain", False),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
}
"""By scheme; whether it is over TLS."""


def is_plain(url: str) -> bool:
    """Whether it names one server."""
    scheme = url.partition("://")[0]
    return scheme in KINDS and KINDS[scheme][0] == "plain"


TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")


class ServerPlace(NamedTuple):
    """Where one server listens."""

    host: str
    port: int
    socket: str = ""
    """Path of its socket; then the others say nothing."""

    def __str__(self) -> str:
        if self.socket:
            return self.socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def of(cls, text: str, port: int = PORT) -> ServerPlace:
        """`host`, `host:port` or `[v6]:port`. ValueError: it is none."""
        parts = urlsplit(f"//{text}")
        if not parts.hostname:
            raise ValueError(f"{text!r} names no host")
        return cls(parts.hostname, parts.port or port)

    @classmethod
    def said(cls, text: str, by: ServerPlace) -> ServerPlace:
        """As a server of a cluster says it in a redirection: `host:port`, IPv6 without brackets; no host: its own."""
        host, _, port = text.rpartition(":")
        return cls(host or by.host, int(port))


class StoreAddress:
    """Raises ValueError with what the URL should be, as in "expected a URL with a host". A client would fill in places
    of its own: what was empty when the URL was put together would lead to another store."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        if scheme not in KINDS:
            raise ValueError(f"as one of {', '.join(f'{one}://' for one in KINDS)}")
        self.kind, over_tls = KINDS[scheme]
        front, _, query = rest.partition("?")
        login, _, place = front.rpartition("@")
        hosts, _, path = place.partition("/")
        user, has_password, password = login.partition(":")
        self.user, self.password = unquote(user), unquote(password)
        if has_password and not password:
            raise ValueError("with the password that its `:` promises")
        if user and not password:
            raise ValueError("with a password for its user")
        options = self._options(query, over_tls)
        self.sentinel_user = options.get("sentinel_username", "")
        self.sentinel_password = options.get("sentinel_password", "")
        self.tls_files: dict[str, str] = {name: options[name] for name in TLS_OPTIONS if name in options}
        self.tls = _tls(self.tls_files) if over_tls else None
        self.service, self.database = "", 0
        if scheme == "unix":
            if not path.strip("/"):
                raise ValueError("with the path of its socket")
            self.places: tuple[ServerPlace, ...] = (ServerPlace("", 0, unquote(f"/{path}")),)
            return
        port = SENTINEL_PORT if self.kind == "sentinel" else PORT
        self.places = tuple(_place(one, port) for one in hosts.split(","))
        if self.kind == "sentinel":
            self.service, _, path = path.partition("/")
            if not self.service:
                raise ValueError("with the service that the Sentinels watch: redis+sentinel://host/service")
        self.database = _database(path)
        if self.kind == "cluster" and self.database:
            raise ValueError("without a database: a cluster has only 0")

    def _options(self, query: str, over_tls: bool) -> dict[str, str]:
        known = (*(TLS_OPTIONS if over_tls else ()), *(SENTINEL_OPTIONS if self.kind == "sentinel" else ()))
        options = dict(parse_qsl(query, keep_blank_values=True))
        for name in options:
            if name not in known:
                raise ValueError(f"with {' or '.join(known) or 'nothing'} behind its path, not {name!r}")
        return options

    def hello(self) -> list[tuple[str, ...]]:
        """Commands that begin a connection to a server."""
        commands: list[tuple[str, ...]] = []
        if self.password:
            commands.append(("AUTH", self.user or "default", self.password))
        if self.database:
            commands.append(("SELECT", str(self.database)))
        return commands


def _place(text: str, port: int) -> ServerPlace:
    try:
        return ServerPlace.of(text, port)
    except ValueError:
        raise ValueError("with a host" if not text.partition(":")[0] else f"with hosts, not {text!r}") from None


def _database(text: str) -> int:
    number = text.strip("/")
    if number and not (number.isascii() and number.isdecimal()):
        raise ValueError(f"with the number of a database, not {number!r}")
    return int(number or 0)


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if key and not certificate:
        raise ValueError("with ssl_certfile beside ssl_keyfile")
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as why:
        raise ValueError(f"with certificates that can be read: {why}") from None
    return context
