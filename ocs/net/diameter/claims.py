"""Decides which connection, of which worker, speaks for an Origin-Host.

RFC 6733 section 5.6 rejects a second connection of a peer that is connected (R-Conn-CER in R-Open). Taken alone that
locks out a client that crashed and came back, until its watchdog ends the old connection. So the old one is asked first
(DWR, 2 s): silent, it is closed and the new one wins. Connections of one peer may be on different workers, so the
supervisor decides. No I/O and no clock here: `now_ms` is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

PROBE_MS: Final = 2_000
"""For the worker: an old connection silent for so long is closed."""
HUNG_MS: Final = 3_000
"""For the supervisor: a worker that has not said by then how the probe went is taken for silence."""


class Holder(NamedTuple):
    child: Hashable
    connection: int


class _Case:
    """One Origin-Host that has more connections than it may, until its holders have been heard."""

    def __init__(self, waiting: Holder, asked: set[Holder], until_ms: int) -> None:
        self.waiting = [waiting]
        self.asked = asked
        self.until_ms = until_ms


class Claims:
    """`probe(holder, claim)` asks for `probed(claim, ...)`; `verdict(holder, granted)` answers a `claim`."""

    def __init__(self, probe: Callable[[Holder, int], None], verdict: Callable[[Holder, bool], None]) -> None:
        self._probe = probe
        self._verdict = verdict
        self._holders: dict[str, list[Holder]] = {}
        self._cases: dict[str, _Case] = {}
        self._probes: dict[int, tuple[str, Holder]] = {}
        self._last_probe = 0

    @property
    def hosts(self) -> list[str]:
        """The Origin-Hosts that are connected."""
        return sorted(self._holders)

    @property
    def settled(self) -> bool:
        """Nobody waits for a verdict."""
        return not self._cases and not self._probes

    @property
    def held(self) -> dict[str, list[Holder]]:
        return self._holders

    def hold(self, host: str, holder: Holder) -> None:
        """Granted by who decided before us."""
        self._holders.setdefault(host, []).append(holder)

    def claim(self, holder: Holder, origin_host: str, several: int, now_ms: int) -> None:
        host = origin_host.lower()  # DiameterIdentity compares without case
        held = self._holders.setdefault(host, [])
        if len(held) < several:
            self._grant(host, holder)
        elif host in self._cases:
            self._cases[host].waiting.append(holder)
        else:
            self._cases[host] = _Case(holder, set(held), now_ms + HUNG_MS)
            for old in tuple(held):
                self._last_probe += 1
                self._probes[self._last_probe] = (host, old)
                self._probe(old, self._last_probe)

    def probed(self, claim: int, alive: bool) -> None:
        host, old = self._probes.pop(claim, ("", None))
        if old is None:
            return
        if not alive:
            self._gone(host, old)
            return
        case = self._cases.get(host)
        if case is not None:
            case.asked.discard(old)
            if not case.asked:
                self._refuse_all(host)

    def closed(self, holder: Holder) -> None:
        """The connection ended, or its worker did."""
        for host, case in list(self._cases.items()):
            if holder in case.waiting:
                case.waiting.remove(holder)
                if not case.waiting:
                    del self._cases[host]
        for host, held in list(self._holders.items()):
            if holder in held:
                self._gone(host, holder)

    def ended(self, child: Hashable) -> None:
        everyone = {holder for held in self._holders.values() for holder in held}
        everyone |= {holder for case in self._cases.values() for holder in case.waiting}
        for holder in everyone:
            if holder.child == child:
                self.closed(holder)

    def tick(self, now_ms: int) -> None:
        for claim, (host, old) in list(self._probes.items()):
            case = self._cases.get(host)
            if case is None:
                del self._probes[claim]
            elif now_ms >= case.until_ms:
                del self._probes[claim]
                self._gone(host, old)

    def _grant(self, host: str, holder: Holder) -> None:
        self._holders[host].append(holder)
        self._verdict(holder, True)

    def _gone(self, host: str, old: Holder) -> None:
        """A holder has ended: the first waiting connection takes its place, the others are refused."""
        held = self._holders.get(host, [])
        if old in held:
            held.remove(old)
            case = self._cases.get(host)
            if case is not None:
                self._grant(host, case.waiting.pop(0))
                self._refuse_all(host)
        if not held:
            self._holders.pop(host, None)

    def _refuse_all(self, host: str) -> None:
        for holder in self._cases.pop(host).waiting:
            self._verdict(holder, False)
