"""The book in the live store of what the addresses of clients do: written by all workers of all hosts, kept over
restarts, shown by the API.

No request waits for it. Each worker tells now and then what it saw; what an address has done for long enough is
demanded of it from then on, and all workers look with each check of the fence whether something new is. What is not
told yet when a worker is killed is lost: a habit is then learnt later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from balances import keys
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import Pending
from ocs.charging.radius.habits import Habit, HabitRecord, Strictness
from ocs.net.radius.conduct import ADDRESSES_MAX, BROKEN, DROPPED, KEPT, Conduct, Conducts
from ocs.telemetry.log import logger

TELL_S: Final = 5.0
TOLD_AT_ONCE: Final = 200
"""Addresses: a few hundred commands every five seconds, however many send."""
FORGOTTEN_S: Final = 90 * 86_400
"""Of an address that is silent for so long nothing is shown. What is demanded of it stays."""
DEMANDS_MAX: Final = 4 * ADDRESSES_MAX

LOOK: Final = (("GET", keys.RADIUS_REQUIRED_CHANGES), ("ZCARD", keys.RADIUS_ADDRESSES))
"""What is asked with each check of the fence."""

CLIENT, SEEN = "client", "seen"
SINCE = {habit: f"{KEPT[habit]}-since" for habit in Habit}
LAST = {habit: f"{BROKEN[habit]}-last" for habit in Habit}
"""Fields of an address, besides its counts."""


class ConductLink(Protocol):
    """The part of balances.redis.connection.RedisConnection that is needed here."""

    def command(self, *words: str | bytes | int) -> Pending[Any]: ...


class AddressRecord(NamedTuple):
    """What the book has of an address."""

    address: str
    client: str
    """The addresses of its client, as configured when it was heard of last."""
    seen_ms: int
    habits: dict[Habit, HabitRecord]
    dropped: dict[str, int]
    """By reason."""


class ConductBook:
    """learn_ms: how long a habit is to be kept before it is demanded"""

    def __init__(self, link: ConductLink, conducts: Conducts, learn_ms: int, now_ms: Callable[[], int]) -> None:
        self._command, self._conducts, self._learn_ms, self._now_ms = link.command, conducts, learn_ms, now_ms
        self._changes: bytes | None = None
        self._is_full = False

    def looked(self, replies: list[Any]) -> None:
        """Gets the answers to LOOK again and again."""
        changes, count = replies
        self._is_full = count >= ADDRESSES_MAX
        if changes != self._changes or self._conducts.demanded is None:
            self._command("HGETALL", keys.RADIUS_REQUIRED).then(
                lambda raw, error: self._learnt(changes, raw) if error is None else None
            )

    def _learnt(self, changes: bytes | None, raw: Sequence[bytes]) -> None:
        self._changes = changes
        self._conducts.learnt(frozenset(demand_of(field) for field in raw[::2]))

    async def run(self) -> None:
        """For as long as the process serves."""
        while True:
            await asyncio.sleep(TELL_S)
            await self.tell()

    async def tell(self, most: int = TOLD_AT_ONCE) -> None:
        """What is not in the book yet, of so many addresses; nothing where the store is away."""
        touched = self._conducts.touched
        forgotten_ms = self._now_ms() - FORGOTTEN_S * 1_000
        try:
            for address in list(touched)[:most]:
                conduct = touched.pop(address)
                counts, conduct.counts = conduct.counts, {}
                try:
                    await self._tell(conduct, counts)
                except NotSent:  # with the next round
                    conduct.add(counts)
                    touched.setdefault(address, conduct)
                    return
            await self._command("ZREMRANGEBYSCORE", keys.RADIUS_ADDRESSES, 0, forgotten_ms).wait()
        except (NotSent, Lost):
            return

    async def _tell(self, conduct: Conduct, counts: dict[str, int]) -> None:
        command, address, client = self._command, conduct.address, conduct.client
        is_new = self._is_full and await command("ZSCORE", keys.RADIUS_ADDRESSES, address).wait() is None
        if is_new and address != client.over + client.block:
            self._conducts.rest(client, conduct.seen_ms).add(counts)
            return
        key = keys.radius_address(address)
        for what, times in counts.items():
            command("HINCRBY", key, what, times)
        for habit in Habit:
            if counts.get(KEPT[habit]):
                command("HSETNX", key, SINCE[habit], conduct.seen_ms)
            if counts.get(BROKEN[habit]):
                command("HSET", key, LAST[habit], conduct.seen_ms)
        command("HSET", key, SEEN, conduct.seen_ms, CLIENT, client.block)
        command("EXPIRE", key, FORGOTTEN_S)
        command("ZADD", keys.RADIUS_ADDRESSES, "GT", conduct.seen_ms, address)
        record = record_of(address, await command("HGETALL", key).wait())
        for habit, kept in record.habits.items():
            wanted = client.policies[habit] == "learn" and habit not in conduct.requires
            if wanted and kept.strictness(self._now_ms(), self._learn_ms) is Strictness.REQUIRE:
                await self._demand(conduct, habit)

    async def _demand(self, conduct: Conduct, habit: Habit) -> None:
        command = self._command
        if await command("HLEN", keys.RADIUS_REQUIRED).wait() >= DEMANDS_MAX:
            return
        if await command("HSETNX", keys.RADIUS_REQUIRED, demand(conduct.address, habit), self._now_ms()).wait():
            logger().info("radius.demanded", client=conduct.client.name, address=conduct.address, habit=habit)
        await command("INCR", keys.RADIUS_REQUIRED_CHANGES).wait()


def demand(address: str, habit: Habit) -> str:
    """Field of RADIUS_REQUIRED."""
    return f"{address} {habit}"


def demand_of(field: bytes) -> tuple[str, str]:
    """(address, habit)."""
    address, _, habit = field.decode().partition(" ")
    return address, habit


def record_of(address: str, raw: Sequence[bytes]) -> AddressRecord:
    """raw: a reply to HGETALL"""
    fields: Mapping[str, bytes] = {name.decode(): value for name, value in zip(raw[::2], raw[1::2], strict=True)}

    def number(name: str) -> int:
        return int(fields.get(name, 0))

    return AddressRecord(
        address,
        fields.get(CLIENT, b"").decode(),
        number(SEEN),
        {
            habit: HabitRecord(number(KEPT[habit]), number(SINCE[habit]), number(BROKEN[habit]), number(LAST[habit]))
            for habit in Habit
        },
        {name.removeprefix(DROPPED): int(value) for name, value in fields.items() if name.startswith(DROPPED)},
    )
