"""What a process sees for those who trace (docs/tracing.md).

Nobody traces: `watched` is empty, and that is all that a request costs. Somebody does: every message is compared with
what is wanted (matching.py); one that is wanted is served the general way with its store and its answer noted on the
way, and what was seen is published when it is over. Nothing is kept: a viewer that is too slow, or gone, misses it, and
is told how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from balances import keys
from balances.redis.pending import Pending
from ocs.clock import monotonic_us, now_ms
from ocs.tracing.matching import WatchedFor, WhoAndWhat
from ocs.tracing.sighting import Sighting, Socket, pack_sighting
from ocs.tracing.traced_request import TracedRequest
from ocs.tracing.wish import read_wish
from protocol.radius.attribute_table import AttributeTable

LOOK: Final = (("HGETALL", keys.TRACES),)
"""What is asked with each check of the fence."""
UNDER_WAY_MAX: Final = 256
"""Sightings on their way to the live store; those beyond are dropped and counted."""
SECOND_MAX: Final = 500
"""Sightings of one process in a second, likewise: a viewer reads no faster."""

Ask = Callable[[], WhoAndWhat | None]


class TraceLink(Protocol):
    """The part of balances.redis.connection.RedisConnection that is needed here."""

    def command(self, *words: str | bytes | int) -> Pending[Any]: ...


class Tracer:
    """
    process: what this process is called beside others of the host
    host:    its host
    known:   attributes of RADIUS, some of which are never shown
    """

    def __init__(self, link: TraceLink, process: str, known: AttributeTable, host: str = "") -> None:
        self.watched: tuple[WatchedFor, ...] = ()
        """Empty: nobody traces."""
        self.known = known
        self._link, self._process = link, process
        self._host = host
        self._under_way = self._in_second = self._second = 0

    # ---- what is wanted

    def looked(self, replies: list[Any]) -> None:
        """Gets the answers to LOOK again and again."""
        (raw,) = replies
        if not raw and not self.watched:
            return
        before = {one.wish.id: one for one in self.watched}
        now, after = now_ms(), []
        for packed in _values(raw):
            try:
                wish = read_wish(packed)
            except msgspec.MsgspecError:
                continue  # of another build
            if wish.until_ms < now:
                continue
            known = before.get(wish.id)
            if known is None:
                known = WatchedFor(wish)
            else:
                known.renewed(wish)
            after.append(known)
        self.watched = tuple(after)

    # ---- what comes

    def wanting(
        self, octets: bytes, names: tuple[str, ...], ask: Ask, session_id: bytes = b""
    ) -> tuple[WatchedFor, ...]:
        """Who wants to see this message.

        names:       what its peer is called
        session_id:  Session-Id of a Diameter message
        ask:         whom and which session it is about; None: it cannot be understood
        """
        lowered = octets.lower()
        asked: list[WhoAndWhat | None] = []

        def once() -> WhoAndWhat | None:
            if not asked:
                asked.append(ask())
            return asked[0]

        return tuple(
            one for one in self.watched if one.wants_peer(names) or one.wants(octets, lowered, session_id, once)
        )

    def request(
        self, watched: Sequence[WatchedFor], protocol: str, peer: str, local: Socket, remote: Socket, heard_us: int
    ) -> TracedRequest:
        """One that is wanted, from when it came (`monotonic_us`)."""
        sighting = Sighting(self._host, self._process, 0, protocol, False, peer, local, remote)
        return TracedRequest(self, watched, sighting, heard_us)

    # ---- what is told

    def tell(self, watched: Sequence[WatchedFor], sighting: Sighting) -> None:
        for one in watched:
            if not self._has_room():
                one.dropped += 1
                continue
            sighting.dropped = one.dropped
            self._under_way += 1
            self._link.command("PUBLISH", keys.trace_channel(one.wish.id), pack_sighting(sighting)).then(self._told)

    def _has_room(self) -> bool:
        second = monotonic_us() // 1_000_000
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second <= SECOND_MAX and self._under_way < UNDER_WAY_MAX

    def _told(self, _receivers: Any, _error: BaseException | None) -> None:
        self._under_way -= 1


class _NoLink:
    """Where nobody can trace."""

    def command(self, *words: str | bytes | int) -> Pending[Any]:
        raise NotImplementedError(words)


NOBODY: Final = Tracer(_NoLink(), "", AttributeTable())
"""Of what is not told who traces."""


def _values(raw: Sequence[bytes]) -> Sequence[bytes]:
    """Of a reply to HGETALL."""
    return raw[1::2]
