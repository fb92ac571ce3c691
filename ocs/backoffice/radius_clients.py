"""RADIUS clients as they are configured, and what each of their addresses does (docs/radius.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from balances import keys
from ocs.backoffice.errors import NotFound
from ocs.charging.radius.habits import Habit, HabitRecord, SignaturePolicy, Strictness, strictness_of
from ocs.config.radius import RadiusClient
from ocs.net.radius.conduct_book import AddressRecord, demand, record_of

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

SAME_INSTANT: Final = 64
"""Addresses heard of last in one millisecond that a page may begin among."""


class HabitShown(NamedTuple):
    """How we deal with one habit of an address."""

    policy: SignaturePolicy
    strictness: Strictness
    record: HabitRecord
    demanded_ms: int
    """Since when, by what was learnt; 0: not."""


class AddressShown(NamedTuple):
    record: AddressRecord
    client: RadiusClient | None
    """None: no block has these addresses any more."""
    habits: dict[Habit, HabitShown]


async def page(backoffice: BackOffice, before: tuple[int, str], limit: int) -> list[AddressShown]:
    """The address that was heard of last first. before: (seen_ms, address) of the last one of the page before"""
    command, (seen_ms, address) = backoffice.store.link.command, before
    ranged = ("ZRANGE", keys.RADIUS_ADDRESSES, seen_ms, 0, "BYSCORE", "REV", "LIMIT", 0, limit + SAME_INSTANT)
    raw = await backoffice.bounded(command(*ranged, "WITHSCORES").wait())
    pairs = [(int(score), name.decode()) for name, score in zip(raw[::2], raw[1::2], strict=True)]
    wanted = [name for ms, name in pairs if not address or (ms, name) < (seen_ms, address)][:limit]
    return await _shown(backoffice, wanted)


async def reset(backoffice: BackOffice, address: str) -> AddressShown:
    """Forget what an address did and what is demanded of it; all workers of all hosts do within a second."""
    command, bounded = backoffice.store.link.command, backoffice.bounded
    demands = [demand(address, habit) for habit in Habit]
    known = await bounded(command("ZSCORE", keys.RADIUS_ADDRESSES, address).wait())
    gone = await bounded(command("HDEL", keys.RADIUS_REQUIRED, *demands).wait())
    if known is None and not gone:
        raise NotFound(f"no RADIUS client was heard of at {address}")
    await bounded(command("DEL", keys.radius_address(address)).wait())
    await bounded(command("ZREM", keys.RADIUS_ADDRESSES, address).wait())
    await bounded(command("INCR", keys.RADIUS_REQUIRED_CHANGES).wait())
    return (await _shown(backoffice, [address]))[0]


async def _shown(backoffice: BackOffice, addresses: Sequence[str]) -> list[AddressShown]:
    command, bounded = backoffice.store.link.command, backoffice.bounded
    blocks = {client.block: client for client in backoffice.radius.clients}
    asked = [command("HGETALL", keys.radius_address(address)) for address in addresses]
    found = []
    for address, waiting in zip(addresses, asked, strict=True):
        record = record_of(address, await bounded(waiting.wait()))
        demands = [demand(address, habit) for habit in Habit]
        demanded = await bounded(command("HMGET", keys.RADIUS_REQUIRED, *demands).wait())
        since = {habit: int(ms or 0) for habit, ms in zip(Habit, demanded, strict=True)}
        client = blocks.get(record.client)
        found.append(AddressShown(record, client, _habits(backoffice, record, client, since)))
    return found


def _habits(
    backoffice: BackOffice, record: AddressRecord, client: RadiusClient | None, since: dict[Habit, int]
) -> dict[Habit, HabitShown]:
    now_ms, learn_ms = backoffice.now_ms(), backoffice.radius.learn_s * 1_000
    policies: dict[Habit, SignaturePolicy] = {
        Habit.SIGNED: client.message_authenticator if client else "learn",
        Habit.DIRECT: client.limit_proxy_state if client else "learn",
    }
    return {
        habit: HabitShown(
            policies[habit],
            strictness_of(policies[habit], kept, bool(since[habit]), now_ms, learn_ms),
            kept,
            since[habit],
        )
        for habit, kept in record.habits.items()
    }
