"""Listening sockets: bound once, by the supervisor, before anything else starts. A port in use is one clear error."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ocs.config.tree import Config
    from ocs.config.values import Listen

RADSEC: Final = "radius.radsec_listen"
HTTP: Final = "http.listen"
STREAMS: Final = frozenset({RADSEC, HTTP})
"""Of the listeners that several processes share those that are TCP."""
BACKLOG: Final = 1_024
DATAGRAMS_BYTES: Final = 4 << 20
"""What may wait in a socket, as far as the system allows it: a burst of all interims of a BRAS."""


class CannotListen(Exception):
    """The text is meant for the operator."""


def listeners(config: Config) -> dict[str, Listen]:
    """The listening addresses by configuration key, of what the supervisor accepts from; falsy where one is off."""
    found = {"metrics.listen": config.metrics.listen}
    if "worker" in config.host.roles:
        found |= {"diameter.listen": config.diameter.listen, "diameter.tls_listen": config.diameter.tls_listen}
    return found


def shared_listeners(config: Config) -> dict[str, tuple[Listen, int]]:
    """The same of what several processes have a socket each for, with how many they are: the API, and the workers where
    there are RADIUS clients."""
    radius, http = config.radius, config.http
    found = {HTTP: (http.listen, http.processes)} if "api" in config.host.roles else {}
    if radius.clients and "worker" in config.host.roles:
        found |= {
            "radius.auth_listen": (radius.auth_listen, config.workers),
            "radius.acct_listen": (radius.acct_listen, config.workers),
            RADSEC: (radius.radsec_listen, config.workers),
        }
    return found


def bind_shared(key: str, host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets that share a port, one for each process: the kernel sends what comes from one address and port to the
    same one of them, for as long as they are open. The supervisor keeps them, so a process that is started again gets
    what came meanwhile."""
    datagrams = key not in STREAMS
    found: list[socket.socket] = []
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host,
            port,
            type=socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV,
        )[0]
    except socket.gaierror as why:
        raise CannotListen(f"{key}: {host!r} is no address of this machine: {why.strerror}") from None
    try:
        with socket.socket(family, kind, proto) as probe:  # two servers would share the port and not know it
            if not datagrams:  # connections that have ended do not hold the port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            bound = probe.getsockname()
        for _ in range(count):
            one = socket.socket(family, kind, proto)
            found.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if not datagrams:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if datagrams:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAMS_BYTES)
            one.bind(bound)
            if not datagrams:
                one.listen(BACKLOG)
            one.setblocking(False)
    except OSError as why:
        for one in found:
            one.close()
        raise CannotListen(f"{key}: cannot listen on {host}:{port}: {_reason(why, key)}") from None
    return found


def bind(key: str, host: str, port: int) -> socket.socket:
    """A listening TCP socket. `key` is the configuration key that asked for it; port 0 lets the system choose."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except socket.gaierror as why:
        raise CannotListen(f"{key}: {host!r} is no address of this machine: {why.strerror}") from None
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as why:
        listener.close()
        raise CannotListen(f"{key}: cannot listen on {host}:{port}: {_reason(why, key)}") from None
    listener.setblocking(False)
    return listener


def _reason(why: OSError, key: str) -> str:
    match why.errno:
        case errno.EADDRINUSE:
            return f"the port is taken by another program (is this server running already?). Another: --set {key}=..."
        case errno.EACCES:
            return "ports below 1024 need privileges"
        case errno.EADDRNOTAVAIL:
            return "no interface of this machine has that address"
        case _:
            return why.strerror or str(why)


def address_of(listener: socket.socket) -> str:
    """`host:port` as it can be connected to, brackets around IPv6."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def accept_some(listener: socket.socket, hand: Callable[[socket.socket, str, int], None], limit: int = 64) -> None:
    """Accept waiting connections, at most `limit`, so that many at once leave time for other work."""
    for _ in range(limit):
        try:
            connection, address = listener.accept()
        except BlockingIOError:
            return
        except OSError as why:
            if why.errno in (errno.ECONNABORTED, errno.EPERM):
                continue  # gone while it waited, or refused by a firewall
            raise
        with connection:
            hand(connection, address[0], address[1])
