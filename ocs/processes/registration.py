"""Says in PostgreSQL that this host is there and how it is, again and again, and hears there that it is to restart."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import asyncpg

from balances.ledger.formats import Reads
from balances.postgres import connect
from balances.redis.pending import ended
from ocs.stores import hosts
from ocs.stores.hosts import BEAT_S, HostRefused, HostState
from ocs.telemetry.log import Seldom, logger

WAIT_S: Final = 5.0
"""For PostgreSQL."""
AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Said(NamedTuple):
    """What a beat says."""

    reads: Reads
    libraries: tuple[str, ...]
    state: HostState


class Registration:
    """
    name:     of this host
    says:     what is said of it now
    restart:  called once when a person wishes it
    refused:  is called once when this build may not work on the store, with the reason
    run:      of who was registered before in this process
    """

    def __init__(
        self,
        dsn: str,
        name: str,
        says: Callable[[], Said],
        restart: Callable[[], object],
        refused: Callable[[str], object],
        run: str = "",
    ) -> None:
        self.run_id = run or secrets.token_hex(8)
        self._dsn, self._name, self._says = dsn, name, says
        self._restart, self._refused = restart, refused
        self._pg: Any = None
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._seldom = Seldom()

    async def first(self) -> str:
        """Join: why this build may not work on that store, "" when it may, or nobody can say so yet."""
        try:
            await self._beat()
        except HostRefused as why:
            return str(why)
        except AWAY:
            pass  # it is away, or has no tables yet: the next beats see
        return ""

    def begin(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def restarted(self, said: str, *, well: bool) -> None:
        """A restart has ended. Where it failed, other hosts that were asked for it as well do not begin."""
        with contextlib.suppress(*AWAY):
            async with self._one, asyncio.timeout(WAIT_S):
                pg = await self._connected()
                await hosts.end_restart(pg, self.run_id, said)
                if not well:
                    await hosts.give_up_restarts(pg)

    async def leave(self) -> None:
        """In good order, at the end."""
        if self._task is not None:
            await ended((self._task,))
        with contextlib.suppress(*AWAY):
            async with asyncio.timeout(WAIT_S):
                await hosts.leave(await self._connected(), self.run_id)
        if self._pg is not None:
            self._pg.terminate()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._beat()
            except HostRefused as why:
                self._refused(str(why))
                return
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
                pass  # a child is about to bring the database up to date
            except AWAY as why:
                if times := self._seldom.times(type(why)):
                    logger().warning("host.not_registered", why=str(why) or type(why).__name__, times=times)

    async def _beat(self) -> None:
        said = self._says()
        try:
            async with self._one, asyncio.timeout(WAIT_S):
                heard = await hosts.beat(
                    await self._connected(), self.run_id, self._name, said.reads, said.libraries, said.state
                )
        except AWAY:
            if self._pg is not None:
                self._pg.terminate()
                self._pg = None
            raise
        if heard.restart:
            self._restart()

    async def _connected(self) -> Any:
        if self._pg is None or self._pg.is_closed():
            self._pg = await connect(self._dsn, timeout=WAIT_S)
        return self._pg
