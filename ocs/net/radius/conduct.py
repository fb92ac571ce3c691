"""What each address of a client is doing, as far as this process saw it: how much, and with which habits.

Asked with every request that is proven, so it is all in memory; `conduct_book.py` brings it together with what other
processes saw.
"""

from __future__ import annotations

from typing import Final

from ocs.charging.radius.habits import Habit
from ocs.net.radius.clients import NasClient
from protocol.radius.dictionary.standard import EAP_MESSAGE, PROXY_STATE
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError

ADDRESSES_MAX: Final = 16_384
"""Addresses known each by itself; further ones of a client are one together. Who sends unsigned may say any address."""
SECOND_US: Final = 1_000_000


class Conduct:
    """Of one address, or of all of a client that were too many. `counts` are those since they were told to the book."""

    __slots__ = ("_at_us", "_room", "address", "client", "counts", "in_flight", "requires", "seen_ms")

    def __init__(self, address: str, client: NasClient) -> None:
        self.address, self.client = address, client
        self.requires: frozenset[Habit] = frozenset()
        self.in_flight = 0
        self.seen_ms = 0
        self.counts: dict[str, int] = {}
        self._room, self._at_us = float(client.rate_max), 0

    def within_rate(self, now_us: int) -> bool:
        """Takes one of the requests that it may send in a second."""
        rate, passed_us = self.client.rate_max, now_us - self._at_us
        self._at_us = now_us
        self._room = min(float(rate), self._room + passed_us * rate / SECOND_US)
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def add(self, counts: dict[str, int]) -> None:
        for what, times in counts.items():
            self.counts[what] = self.counts.get(what, 0) + times

    def judge(self, packet: Packet, signed: bool) -> Habit | None:
        """Of an Access-Request, whether it may be served; the habit that is missing where that is to be told of. Raises
        RadiusError where it is demanded."""
        proxied = packet.carries(PROXY_STATE.key)
        lacks = None
        if signed:
            if not packet.carries(EAP_MESSAGE.key):  # with EAP everybody signs, whatever else he does
                self.count(KEPT[Habit.SIGNED])
        else:
            lacks = self._lacks(Habit.SIGNED, "no Message-Authenticator")
        if not proxied:
            self.count(KEPT[Habit.DIRECT])
        elif not signed:
            lacks = self._lacks(Habit.DIRECT, "Proxy-State without Message-Authenticator") or lacks
        if not signed:  # it is served
            self.count(BROKEN[Habit.SIGNED])
            if proxied:
                self.count(BROKEN[Habit.DIRECT])
        return lacks

    def _lacks(self, habit: Habit, words: str) -> Habit | None:
        if habit in self.requires:
            raise RadiusError(FAULTS[habit], f"{words}; where the client must send it so: {ADVICE[habit]}")
        return habit if self.client.policies[habit] == "learn" else None


KEPT: Final = {habit: f"{habit}" for habit in Habit}
BROKEN: Final = {habit: f"not-{habit}" for habit in Habit}
"""Under which names requests that agree with a habit, and that do not, are counted."""
FAULTS: Final = {
    Habit.SIGNED: PacketFault.MESSAGE_AUTHENTICATOR_MISSING,
    Habit.DIRECT: PacketFault.PROXY_STATE,
}
ADVICE: Final = {
    Habit.SIGNED: '`ocs radius reset ADDRESS`, or message_authenticator = "check"',
    Habit.DIRECT: '`ocs radius reset ADDRESS`, or limit_proxy_state = "check"',
}
DROPPED: Final = "dropped "
"""In front of the reason, in `counts`."""


class Conducts:
    """By address."""

    def __init__(self) -> None:
        self.demanded: frozenset[tuple[str, str]] | None = None
        """(address, habit) of what was learnt, by all processes; None: not known yet, so nothing unsigned is served."""
        self.touched: dict[str, Conduct] = {}
        """Those that have something to tell, in the order in which they began to."""
        self._known: dict[str, Conduct] = {}
        self._rest: dict[str, Conduct] = {}
        """By client."""

    def __len__(self) -> int:
        return len(self._known) + len(self._rest)

    def of(self, address: str, client: NasClient, now_ms: int) -> Conduct:
        """Of an address that a packet came from which is the client's, as far as its kind can prove it."""
        address = client.over + address
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= ADDRESSES_MAX:
                return self.rest(client, now_ms)
            found = self._known[address] = self._new(address, client)
        return self._touched(found, now_ms)

    def dropped(self, address: str, client: NasClient, reason: str, now_ms: int) -> None:
        """A packet was: for such a one no address becomes known."""
        found = self._known.get(client.over + address)
        conduct = self.rest(client, now_ms) if found is None else self._touched(found, now_ms)
        conduct.count(DROPPED + reason)

    def rest(self, client: NasClient, now_ms: int) -> Conduct:
        """Of the addresses of a client that are not known each by itself."""
        name = client.over + client.block
        found = self._rest.get(name)
        if found is None:
            found = self._rest[name] = self._new(name, client)
        return self._touched(found, now_ms)

    def learnt(self, demanded: frozenset[tuple[str, str]]) -> None:
        """What is demanded of whom, as all processes know it now."""
        self.demanded = demanded
        for conduct in (*self._known.values(), *self._rest.values()):
            conduct.requires = self._required_of(conduct)

    def _new(self, address: str, client: NasClient) -> Conduct:
        made = Conduct(address, client)
        made.requires = self._required_of(made)
        return made

    def _required_of(self, conduct: Conduct) -> frozenset[Habit]:
        policies, demanded = conduct.client.policies, self.demanded or frozenset()
        return frozenset(
            habit
            for habit in Habit
            if policies[habit] == "require"
            or (policies[habit] == "learn" and (self.demanded is None or (conduct.address, habit) in demanded))
        )

    def _touched(self, conduct: Conduct, now_ms: int) -> Conduct:
        conduct.seen_ms = now_ms
        self.touched.setdefault(conduct.address, conduct)
        return conduct
