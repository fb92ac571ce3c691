"""Connections to PostgreSQL by one address or several: of several the one that takes writes, and none that is silent is
waited for.

asyncpg asks the hosts of an address one after the other and waits for each without a bound of its own, so that one that
is frozen (a stopped process, a paused host) would keep everybody from its successor. Here the next one is asked as soon
as one is silent for a moment, and the first that fits is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

SILENT_S: Final = 0.5
"""After so long without an answer of one host the next one is asked too ..."""
CONNECT_S: Final = 10.0
"""... and after so long none is waited for any more."""
WRITABLE: Final = "read-write"
"""What a server has to be where several hosts are named and the address does not say."""

GONE: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Settings of every connection: some 15 s after a host is gone without a word (power, network) the server ends its
connections, and with them its locks. Unless told so it waits for two hours, and so does who needs the rows of a shard
that a keeper of that host was just copying."""

STANDS_STILL: Final = {"idle_in_transaction_session_timeout": "60000"}
"""Settings of a keeper's connections: a process that stands still (SIGSTOP, a paused virtual machine) keeps its
connections, and in the middle of a copy the rows of its shards. After so long without a statement the server ends the
transaction, and the next keeper copies them."""

UNREACHED: Final[tuple[type[Exception], ...]] = (
    OSError,  # TimeoutError too
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also a server that is not what was asked for
    asyncpg.CannotConnectNowError,  # it starts, or stops
)
"""This host cannot be used now; another one may be. Anything else (a password, a database) is wrong on all of them."""


class PostgresHost(NamedTuple):
    """One host of an address."""

    dsn: str
    attributes: str | None
    """target_session_attrs; None: any server."""


def hosts(dsn: str) -> list[PostgresHost]:
    """Each host of a DSN as a DSN of its own. Of one that names a single host, or none, it is itself."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    login, at, places = parts.netloc.rpartition("@")
    if "host" in query:
        named = query.pop("host").split(",")
        ports = query.pop("port", "").split(",")
        ports = ports * len(named) if len(ports) == 1 else ports
        if len(ports) != len(named):
            raise ValueError(f"{len(named)} hosts and {len(ports)} ports in the address of PostgreSQL")
        pairs = [
            ("", {"host": host} | ({"port": port} if port else {})) for host, port in zip(named, ports, strict=True)
        ]
    else:
        pairs = [(place, {}) for place in places.split(",")]
    if len(pairs) == 1:
        return [PostgresHost(dsn, None)]
    attributes = query.pop("target_session_attrs", WRITABLE)
    found = []
    for place, of in pairs:
        words = urlencode(query | of, quote_via=quote)
        found.append(PostgresHost(urlunsplit(parts._replace(netloc=f"{login}{at}{place}", query=words)), attributes))
    return found


def named(dsn: str) -> str:
    """The host of a single address, for people: nothing secret."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    if "host" in query:
        return query["host"] + (f":{query['port']}" if query.get("port") else "")
    return unquote(parts.netloc.rpartition("@")[2])


Meet = Callable[[Any], Awaitable[None]]
"""Looks at a connection to one of several hosts, and raises one of UNREACHED where another host is to be taken."""


async def connect(
    dsn: str,
    *,
    timeout: float = CONNECT_S,  # noqa: ASYNC109 - as asyncpg's
    meet: Meet | None = None,
    **how: Any,
) -> Any:
    """As asyncpg.connect. Raises what the hosts said, or TimeoutError."""
    given = dict(parse_qsl(urlsplit(dsn).query))  # what the address says wins
    how["server_settings"] = {name: GONE[name] for name in GONE.keys() - given} | how.get("server_settings", {})
    all_ = hosts(dsn)
    if len(all_) == 1:
        return await asyncpg.connect(dsn, timeout=timeout, **how)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + timeout
    waiting = list(all_)
    asked: dict[asyncio.Future[Any], PostgresHost] = {}
    said: list[str] = []
    try:
        while waiting or asked:
            if waiting:
                one = waiting.pop(0)
                left_s = max(until_s - loop.time(), 0.01)
                asked[asyncio.ensure_future(_one(one, left_s, meet, how))] = one
            done, _ = await asyncio.wait(
                asked, timeout=SILENT_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                of = asked.pop(task)
                why = task.exception()
                if why is None:
                    return task.result()
                if not isinstance(why, UNREACHED):
                    raise why
                said.append(f"{named(of.dsn)}: {str(why) or type(why).__name__}")
        raise ConnectionError("no host of PostgreSQL can be used: " + "; ".join(said))
    finally:
        for task in asked:
            task.add_done_callback(_close)
            task.cancel()


async def _one(host: PostgresHost, within_s: float, meet: Meet | None, how: dict[str, Any]) -> Any:
    async with asyncio.timeout(within_s):
        pg = await asyncpg.connect(host.dsn, timeout=within_s, target_session_attrs=host.attributes, **how)
        if meet is not None:
            try:
                await meet(pg)
            except BaseException:
                pg.terminate()
                raise
        return pg


def _close(task: asyncio.Future[Any]) -> None:
    """Of a host that answered after another one was taken."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()
