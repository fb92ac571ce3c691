"""EAP logins, passed on to home servers. A conversation stays with the server that began it, whoever of us gets its
next packet: State says which one that is. What begins goes to one that is not dead, to the same one for the same
subscriber; where that one is silent, to the next.

Nobody waits longer than `within_ms`: then there is no answer, and the NAS comes again. What it sends again meanwhile is
dropped as under way (`duplicates.py`), so that a home server never gets it twice because of that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from hashlib import blake2b
from typing import Final, NamedTuple

from ocs.config.radius import RadiusHome
from ocs.net.radius.home_server import HomeRequest, HomeServer, HomeState
from ocs.telemetry import metrics
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import CALLING_STATION_ID, USER_NAME
from protocol.radius.hidden import HidingKey
from protocol.radius.packet import Packet
from protocol.radius.proxy import passed_back, tag_in
from protocol.radius.refused import PacketFault, RadiusError

ATTEMPTS: Final = 3
"""So many times somebody is asked within the time there is."""
RESULTS: Final = {
    PacketCode.ACCESS_ACCEPT: "accept",
    PacketCode.ACCESS_REJECT: "reject",
    PacketCode.ACCESS_CHALLENGE: "challenge",
}


class TooManyRelayed(Exception):
    """As many are on their way to home servers as may: say nothing, the client comes again."""


class HomeAnswer(NamedTuple):
    """What a home server said, ready for the NAS but for what we say ourselves."""

    code: PacketCode
    attributes: list[tuple[int, bytes]]


class HomePool:
    """`async with pool.open():` first."""

    def __init__(
        self, config: RadiusHome, table: AttributeTable, meter: metrics.Meter, monotonic_s: Callable[[], float]
    ) -> None:
        self.servers = [HomeServer(one, monotonic_s) for one in config.servers]
        self._config, self._table = config, table
        self._by_tag = {server.tag: server for server in self.servers}
        self._under_way = 0
        self._results = meter.counts(metrics.HOME_REQUESTS)
        for server in self.servers:
            meter.read(metrics.HOME_UP, server.address, by=server.up)
            meter.read(metrics.HOME_OUTSTANDING, server.address, by=server.outstanding)

    def __bool__(self) -> bool:
        return bool(self.servers)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[HomePool]:
        async with contextlib.AsyncExitStack() as stack:
            for server in self.servers:
                await stack.enter_async_context(server.open())
            yield self

    async def ask(self, packet: Packet, secret: bytes) -> HomeAnswer | None:
        """What a home server says to a request of a NAS with this secret. None: nobody said anything in time. Raises
        TooManyRelayed, and RadiusError for what cannot be passed on."""
        if self._under_way >= self._config.outstanding_max:
            raise TooManyRelayed
        self._under_way += 1
        asked: list[HomeRequest] = []
        try:
            found = await self._answered(packet, asked)
        except ValueError as why:  # longer than a packet may be, with what we add
            raise RadiusError(PacketFault.LENGTH, str(why)) from None
        finally:
            self._under_way -= 1
            for one in asked:
                one.end()
        if found is None:
            return None
        server, reply = found.server, found.reply.result()
        server.counts["answered"] += 1
        self._results[server.address, RESULTS.get(PacketCode(reply.code), "other")] += 1
        before, after = HidingKey(server.secret, found.authenticator), HidingKey(secret, packet.authenticator)
        return HomeAnswer(PacketCode(reply.code), passed_back(reply, server.tag, before, after, self._table))

    async def _answered(self, packet: Packet, asked: list[HomeRequest]) -> HomeRequest | None:
        """The first answer. asked: gets all that were sent, to be ended by the caller"""
        bound = self._by_tag.get(tag_in(packet))
        order = [bound] if bound is not None else self._ranked(packet)
        wait_s = self._config.within_ms / 1_000 / ATTEMPTS
        for attempt in range(ATTEMPTS):
            server = order[attempt % len(order)]
            sent = next((one for one in asked if one.server is server), None)
            if sent is not None:
                sent.send()  # the same octets, so that it knows them again
            else:
                sent = server.ask(packet)
                if sent is None:
                    raise TooManyRelayed
                asked.append(sent)
            done, _ = await asyncio.wait([one.reply for one in asked], timeout=wait_s, return_when="FIRST_COMPLETED")
            if done:
                return next(one for one in asked if one.reply.done())
            server.missed()
            self._results[server.address, "silent"] += 1
        return None

    def _ranked(self, packet: Packet) -> list[HomeServer]:
        """For a conversation that begins: those that are not dead, each subscriber's in an order of its own, which all
        of us come to (highest random weight)."""
        user, station = packet.get(USER_NAME), packet.get(CALLING_STATION_ID)
        who = f"{user or ''}\0{station or ''}".encode()
        weighed = sorted(self.servers, key=lambda one: blake2b(who + one.tag, digest_size=8).digest())
        alive = [server for server in weighed if server.state is not HomeState.DEAD]
        return alive or weighed
