"""Where the live store is: one URL, of one server, of servers that replicate, of a cluster, or of what Sentinels watch.

    redis://[user:password@]host[:port][,host[:port] ...][/database]       rediss:// over TLS; unix:///path
    redis+cluster://[user:password@]host[:port][,...]                      rediss+cluster:// over TLS
    redis+sentinel://[user:password@]host[:port][,...]/service[/database]  rediss+sentinel:// over TLS

Of several hosts of a plain store the one that is the master is used. Hosts of a cluster, and Sentinels, are those that
are asked first: one that answers is enough. Over TLS: `?ssl_ca_certs=FILE`, and `ssl_certfile` and `ssl_keyfile` for a
certificate of our own. Sentinels that ask for a password of their own: `?sentinel_username=...&sentinel_password=...`.
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
    """Raises ValueError with what is wrong with the URL."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        if scheme not in KINDS:
            raise ValueError(f"redis.url: {scheme}:// is not one of {', '.join(f'{one}://' for one in KINDS)}")
        self.kind, over_tls = KINDS[scheme]
        path_and_host, _, query = rest.partition("?")
        login, _, place = path_and_host.rpartition("@")
        hosts, _, path = place.partition("/")
        user, _, password = login.partition(":")
        self.user, self.password = unquote(user), unquote(password)
        if self.user and not self.password:
            raise ValueError(f"redis.url: user {self.user!r} without a password")
        options = self._options(query, over_tls)
        self.sentinel_user = options.get("sentinel_username", "")
        self.sentinel_password = options.get("sentinel_password", "")
        self.tls_files: dict[str, str] = {name: options[name] for name in TLS_OPTIONS if name in options}
        self.tls = _tls(self.tls_files) if over_tls else None
        self.service = ""
        if scheme == "unix":
            self.places: tuple[ServerPlace, ...] = (ServerPlace("", 0, unquote(f"/{path}")),)
            self.database = _database(options.get("db", ""))
            return
        port = SENTINEL_PORT if self.kind == "sentinel" else PORT
        self.places = tuple(_place(one, port) for one in (hosts or "127.0.0.1").split(","))
        if self.kind == "sentinel":
            self.service, _, path = path.partition("/")
            if not self.service:
                raise ValueError("redis.url: name the service that the Sentinels watch: redis+sentinel://host/service")
        self.database = _database(path or options.get("db", ""))
        if self.kind == "cluster" and self.database:
            raise ValueError("redis.url: a cluster has database 0 only")

    def _options(self, query: str, over_tls: bool) -> dict[str, str]:
        known = [*(TLS_OPTIONS if over_tls else ()), *(SENTINEL_OPTIONS if self.kind == "sentinel" else ("db",))]
        options = dict(parse_qsl(query, keep_blank_values=True))
        for name in options:
            if name not in known:
                raise ValueError(f"redis.url: {name} is not one of {', '.join(known)}")
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
    except ValueError as why:
        raise ValueError(f"redis.url: {why}") from None


def _database(text: str) -> int:
    if text.strip("/") and not text.strip("/").isdecimal():
        raise ValueError(f"redis.url: database {text.strip('/')!r} is no number")
    return int(text.strip("/") or 0)


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if key and not certificate:
        raise ValueError("redis.url: ssl_keyfile without ssl_certfile")
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as why:
        raise ValueError(f"redis.url: TLS: {why}") from None
    return context
