"""The live store: whether it answers, keeps what it is given, has room, and how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from balances import keys
from balances.ledger.reader import STORE_AWAY
from balances.ledger.risk_names import WARNINGS
from balances.ledger.risks import risks_of
from balances.redis.clients import slow_client
from balances.redis.moving_primaries import primaries_at
from balances.redis.primaries import Primary
from balances.redis.scripts import LIBRARY
from ocs.clock import monotonic_us, now_ms, skew
from ocs.config.tree import Config
from ocs.doctor.finding import DoctorFinding, Examined, error, note, warning

WAIT_S: Final = 5.0
PINGS: Final = 20
PING_WARNING_US: Final = 5_000
MEMORY_WARNING_PERCENT: Final = 80
USED_LATELY_MS: Final = 300_000
"""A library that somebody named within this time is in use."""
AWAY_MEANS: Final = "nothing can be charged: requests are answered busy, or not at all"


async def examine_live_store(config: Config, url: str) -> Examined:
    facts: list[str] = []
    findings: list[DoctorFinding] = []
    try:
        async with asyncio.timeout(WAIT_S), primaries_at(url) as primaries, slow_client(url) as store:
            for primary in primaries.all():
                facts += [primary.name] if primary.clustered else []
                findings += [finding async for finding in _looked_at(config, primary, facts)]
            findings += [finding async for finding in _libraries(store, facts)]
    except STORE_AWAY as why:
        trouble = str(why) or type(why).__name__
        findings = [error(f"it does not answer: {trouble}", AWAY_MEANS, "start it, or mend redis.url", "OcsUnanswered")]
    return Examined("live store", findings, facts)


async def _looked_at(config: Config, primary: Primary, facts: list[str]) -> Any:
    redis = primary.client
    for risk in await risks_of(primary, config.durability, config.redis.promise):
        is_accepted = risk.name in config.redis.accept_risks
        yield (note if is_accepted else warning if risk.name in WARNINGS else error)(
            risk.text + (" (accepted)" if is_accepted else ""),
            "it may lose money or refuse calls",
            f"change the setting; or accept it by name: redis.accept_risks = [{risk.name!r}]",
            "OcsStoreRisk",
        )
    began_ms = now_ms()
    seconds, micros = await redis.time()
    if trouble := skew("the live store", seconds * 1_000 + micros // 1_000 - (began_ms + now_ms()) // 2):
        yield error(trouble, "a worker with such a clock does not serve", "mend the time service (chrony, ntp) of both")
    info: Mapping[str, Any] = await redis.info()
    for finding in _replicas(config, primary, info, facts):
        yield finding
    facts.append(f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info['redis_version']}")
    for finding in (*_memory(info, facts), *_persistence(info)):
        yield finding
    async for finding in _times(redis, facts):
        yield finding


def _replicas(config: Config, primary: Primary, info: Mapping[str, Any], facts: list[str]) -> Iterator[DoctorFinding]:
    """What a failover would lose now."""
    there = [one for name, one in info.items() if name.startswith("slave") and isinstance(one, dict)]
    online = [one for one in there if one["state"] == "online"]
    behind = [info["master_repl_offset"] - int(one["offset"]) for one in online]
    if behind:
        facts.append(f"{len(online)} replicas, {min(behind)} to {max(behind)} octets behind")
    if not (primary.clustered or primary.watched):
        return
    if not online:
        yield warning(
            "it has no replica",
            "nothing can take its place: what it serves is shut until it is back",
            "start one; while it is alone its host is all there is",
            "OcsShardsShut",
        )
    elif config.durability != "replicated":
        yield note(
            f"durability is {config.durability}, and its replicas are {min(behind)} to {max(behind)} octets behind",
            "a failover loses what is neither there nor in PostgreSQL, though it was answered",
            "durability = replicated, where that may not be (docs/durability.md)",
        )


def _memory(info: Mapping[str, Any], facts: list[str]) -> Iterator[DoctorFinding]:
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if not most:
        facts.append(f"{used / 2**20:.0f} MiB in use")
        return
    percent = 100 * used // most
    facts.append(f"{used / 2**20:.0f} MiB of {most / 2**20:.0f} in use ({percent} %)")
    if percent >= MEMORY_WARNING_PERCENT:
        yield warning(
            f"{percent} % of its maxmemory is in use",
            "from 90 % on nothing new is begun; what runs is settled",
            "give it more memory (redis.memory_bytes_max, or CONFIG SET maxmemory); see docs/sizing.md",
            "OcsStoreMemory",
        )


def _persistence(info: Mapping[str, Any]) -> Iterator[DoctorFinding]:
    if info.get("aof_enabled") and info.get("aof_last_write_status") != "ok":
        yield error(
            "its last write to the append-only file failed", "it takes no more writes", "make room on its disk",
            "OcsDiskFull",
        )  # fmt: skip
    if info.get("aof_enabled") and info.get("aof_last_bgrewrite_status") != "ok":
        yield warning(
            "the last rewrite of its append-only file failed",
            "the file grows without end, and a start takes longer and longer",
            "look at its log: memory for a fork (vm.overcommit_memory), room on the disk",
            "OcsDiskFull",
        )
    if delayed := int(info.get("aof_delayed_fsync", 0)):
        yield warning(
            f"{delayed} times since its start a write had to wait for an fsync",
            "its disk is too slow for what it writes",
            "put its append-only file on a faster disk",
            "OcsStoreCallsLost",
        )
    if rejected := int(info.get("rejected_connections", 0)):
        yield warning(
            f"it refused {rejected} connections since its start",
            "more than its maxclients came at once",
            "CONFIG SET maxclients, and open files of its process",
        )


async def _times(redis: Any, facts: list[str]) -> Any:
    times = []
    for _ in range(PINGS):
        at_us = monotonic_us()
        await redis.ping()
        times.append(monotonic_us() - at_us)
    middle = sorted(times)[PINGS // 2]
    facts.append(f"answers a ping in {middle / 1_000:.2f} ms")
    if middle > PING_WARNING_US:
        yield warning(
            f"it answers a ping in {middle / 1_000:.1f} ms",
            "each request waits for it at least once",
            "look at its CPU (it has one core), at the network between, and at SLOWLOG GET",
            "OcsSlow",
        )


async def _libraries(redis: Any, facts: list[str]) -> Any:
    """Versions of ours that run side by side: each names its own functions. Their names are in one place of a store."""
    used = await redis.zrangebyscore(keys.LIBRARIES, now_ms() - USED_LATELY_MS, "+inf")
    others = sorted(name.decode() for name in used if name.decode() != LIBRARY.name)
    if used:
        facts.append(f"functions in use: {', '.join(sorted(name.decode() for name in used))}")
    if others:
        yield warning(
            f"processes of other versions use it: {', '.join(others)}",
            "that is how an upgrade goes, host by host; when it is over there should be one",
            "upgrade the hosts that are left, or end what still runs (`ocs --version` on each)",
        )
