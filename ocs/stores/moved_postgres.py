"""PostgreSQL on several hosts: which one is the present one, and an end for connections to one that was.

A server that is frozen keeps its connections: whoever waits for an answer there would wait for ever, while another one
has long taken over. So while somebody has waited for a while, the address is asked anew; if another server answers, all
connections to the former one are cut, and whoever used them starts again, as after any other loss of a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import asyncpg

from balances import postgres
from balances.ledger.writer import AWAY
from balances.redis.pending import ended
from ocs.stores.plain_connection import PlainConnection

WAITED_S: Final = 3.0
"""So long a statement has waited when the address is asked anew."""
AGAIN_S: Final = 2.0
"""Between two such questions."""


class PostgresServer(NamedTuple):
    """One start of one server."""

    system: int
    """The same for a server and its copies."""
    timeline: int
    """Raised by every promotion."""
    began: object


_SERVER: Final = """
SELECT (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery() THEN 0
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer END,
       pg_postmaster_start_time()
"""


class FormerServer(ConnectionError):
    """Another server was promoted since; this one may lack what that one has, and must not be written to."""


class PostgresHosts:
    """Makes the connections of a pool; of an address with one host as asyncpg would."""

    def __init__(self, dsn: str, *, log: Callable[[str], None]) -> None:
        self._dsn, self._log = dsn, log
        self._live: set[PlainConnection] = set()
        self._newest: dict[int, int] = {}
        """The highest timeline that was met, by system."""
        self._asked_s = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def connect(self, dsn: str, **how: Any) -> Any:
        """In the place of asyncpg.connect."""
        return await postgres.connect(dsn, meet=self._meet, **how)

    def look(self) -> None:
        """Now and then: whether somebody waits for an answer that another server would have given."""
        now_s = asyncio.get_running_loop().time()
        if self._asking is not None or now_s - self._asked_s < AGAIN_S:
            return
        if any(pg.waits_since_s is not None and now_s - pg.waits_since_s > WAITED_S for pg in self._live):
            self._asked_s = now_s
            self._asking = asyncio.ensure_future(self._ask())

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            await ended((self._asking,))

    async def _meet(self, pg: PlainConnection) -> None:
        pg.server = server = await _server(pg)
        if server is None:
            return
        newest = self._newest.get(server.system, 0)
        if 0 < server.timeline < newest:
            raise FormerServer(f"PostgreSQL of timeline {server.timeline}: timeline {newest} was promoted since")
        if server.timeline > newest:
            self._newest[server.system] = server.timeline
        self._live.add(pg)
        pg.add_termination_listener(lambda _: self._live.discard(pg))
        for other in [one for one in self._live if one.server != server]:
            self._log(f"another PostgreSQL answers: timeline {server.timeline}")
            other.terminate()
            self._live.discard(other)

    async def _ask(self) -> None:
        try:
            (await self.connect(self._dsn, connection_class=PlainConnection)).terminate()
        except (*AWAY, asyncpg.PostgresError, TimeoutError):
            pass  # nobody answers: there is nothing to move to
        finally:
            self._asking = None


async def _server(pg: Any) -> PostgresServer | None:
    """None where it may not be asked."""
    try:
        return PostgresServer(*await pg.fetchrow(_SERVER))
    except asyncpg.InsufficientPrivilegeError:
        return None
