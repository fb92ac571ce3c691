"""Settings of a live store that lose money or refuse calls without need, each with its name and one sentence.

Data that a store forgets, evicts or has not yet on disk is missed only when the ledgers are compared. So a start is
refused, unless the operator accepts a risk by its name (`redis.accept_risks`), which then is a standing alarm. What the
chosen durability does not promise anyway is an alarm alone (WARNINGS).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from balances import keys
from balances.ledger.reader import Client
from balances.ledger.risk_names import StoreRisk
from balances.redis.moving_primaries import primaries_at
from balances.redis.primaries import Primaries, Primary
from balances.redis.replicas import ONE, ReplicaPromise

LEAST_VERSION: Final = (7, 0)
"""Of Redis, and as which Valkey counts itself: the operations are functions (libraries.py)."""
WAITAOF_VERSION: Final = (7, 2)

URL_OF: Final = {"cluster": "redis+cluster://node,node", "sentinel": "redis+sentinel://sentinel,sentinel/service"}
"""How redis.url names what a server says to be one of."""

SETTINGS: Final = ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save")


class Risk(NamedTuple):
    name: StoreRisk
    text: str
    """What is so, and what comes of it."""


async def risks_at(url: str, durability: str, promise: ReplicaPromise = ONE) -> list[Risk]:
    """The risks of the store at an address. STORE_AWAY when it cannot be asked."""
    async with primaries_at(url) as primaries:
        return await risks_of_all(primaries, durability, promise)


async def risks_of_all(primaries: Primaries, durability: str, promise: ReplicaPromise = ONE) -> list[Risk]:
    """Each once, with the first primary that has it."""
    found: dict[str, Risk] = {}
    for primary in primaries.all():
        where = f"{primary.name}: " if primary.clustered else ""
        for risk in await risks_of(primary, durability, promise):
            found.setdefault(risk.name, risk._replace(text=where + risk.text))
    return list(found.values())


async def risks_of(primary: Primary, durability: str, promise: ReplicaPromise = ONE) -> list[Risk]:
    """Of a store we are connected to. durability: what is promised, `always`, `everysec` or `replicated`; promise: of
    its replicas"""
    redis, found = primary.client, list[Risk]()
    server = await redis.info("server")
    version, mode = server["redis_version"], server.get("redis_mode") or server.get("server_mode", "")
    if mode in URL_OF and not primary.clustered:
        one = "a node of a cluster" if mode == "cluster" else "a Sentinel"
        return [Risk("kind", f"it is {one}: redis.url has to name it as {URL_OF[mode]}")]
    if not is_new_enough(version):
        least = ".".join(map(str, LEAST_VERSION))
        found.append(
            Risk("version", f"it is Redis {version}, and has no functions before {least}: nothing can be charged")
        )
    elif durability == "replicated" and promise.on_disk and not is_new_enough(version, WAITAOF_VERSION):
        least = ".".join(map(str, WAITAOF_VERSION))
        found.append(
            Risk("version", f"it is Redis {version}, and redis.replicas_on_disk needs {least}: no call can be answered")
        )
    replication = await redis.info("replication")
    if replication["role"] != "master":
        found.append(Risk("replica", "it is a replica: it takes no writes, and what it has may be old"))
    elif durability == "replicated" and (there := replication["connected_slaves"]) < promise.replicas:
        found.append(
            Risk(
                "replicas",
                f"it has {there} replicas, and redis.replicas is {promise.replicas}: no call can be answered",
            )
        )
    try:
        settings = {name: await _setting(redis, name) for name in SETTINGS}
        asked = durability == "replicated" or primary.watched
        least = await _setting(redis, "min-replicas-to-write") if asked else ""
        is_clustered = (await redis.info("cluster")).get("cluster_enabled") == 1
        coverage = await _setting(redis, "cluster-require-full-coverage") if is_clustered else ""
    except ResponseError as why:
        return [
            *found,
            Risk("unseen", f"CONFIG GET is refused ({why}): whether it keeps what it is given is not known"),
        ]
    if least == "0" and durability != "replicated":
        text = (
            "min-replicas-to-write is 0: cut off from its replicas and Sentinels it charges on for workers that are cut"
        )
        found.append(Risk("split", f"{text} off with it, and all of that is lost when it is back"))
    if least and durability == "replicated" and int(least) < promise.replicas:
        text = f"min-replicas-to-write is {least}, below redis.replicas = {promise.replicas}: cut off from them, it"
        found.append(Risk("replicas", f"{text} takes calls that are lost"))
    if coverage == "yes":
        comes = "while one primary is failed over all of them refuse all calls: set it to no on every node"
        found.append(Risk("coverage", f"cluster-require-full-coverage is yes: {comes}"))
    # On the disk of primary and replicas with each answer: an fsync once a second is waited for in vain.
    on_disk = durability == "replicated" and promise.on_disk
    return [*found, *judge(settings, "always" if on_disk else durability)]


def is_new_enough(version: str, least: tuple[int, int] | None = None) -> bool:
    """version: `redis_version` of INFO; least: None: what everything here needs"""
    major, _, rest = version.partition(".")
    return (int(major), int(rest.partition(".")[0] or 0)) >= (LEAST_VERSION if least is None else least)


async def _setting(redis: Client, name: str) -> str:
    value: Any = (await redis.config_get(name)).get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def judge(settings: Mapping[str, str], durability: str) -> list[Risk]:
    """The risks in these settings."""
    found = []
    if settings["maxmemory-policy"] != "noeviction":
        found.append(
            Risk(
                "eviction",
                f"maxmemory-policy is {settings['maxmemory-policy']}: full, it throws balances and holds away",
            )
        )
    if settings["maxmemory"] == "0":
        found.append(Risk("maxmemory", "maxmemory is 0: it grows until the system kills it, in the middle of anything"))
    if settings["appendonly"] != "yes":
        if settings["save"].strip():
            lost = "what came after its last snapshot is lost when it ends"
            found.append(Risk("appendonly", f"appendonly is {settings['appendonly']}: {lost}"))
        else:
            found.append(Risk("persistence", "it has no append-only file and no snapshots: all is lost when it ends"))
    elif settings["appendfsync"] == "no" or (settings["appendfsync"] != "always" and durability == "always"):
        lost = "what was acknowledged last is lost when it is killed"
        found.append(
            Risk(
                "appendfsync",
                f"appendfsync is {settings['appendfsync']}, weaker than durability = {durability}: {lost}",
            )
        )
    elif settings["no-appendfsync-on-rewrite"] == "yes":
        lost = "while its file is rewritten nothing is on disk that is acknowledged"
        found.append(Risk("appendfsync", f"no-appendfsync-on-rewrite is yes: {lost}"))
    return found


def installation_key(primary: Primary) -> str:
    """Where a primary has the id of the installation that it belongs to."""
    return keys.own(min(primary.shards), keys.INSTALLATION) if primary.clustered else keys.INSTALLATION


async def other_installation(primary: Primary, ours: str) -> Risk | None:
    """Whether the primary belongs to another installation than this PostgreSQL, whose id is `ours`. One that belongs to
    nobody is ours from here on."""
    name = installation_key(primary)
    if await primary.client.set(name, ours, nx=True):
        return None
    return foreign(await primary.client.get(name), ours)


def foreign(theirs: bytes | None, ours: str) -> Risk | None:
    """As far as the ids say."""
    if theirs is None or theirs.decode() == ours:
        return None
    return Risk(
        "installation", f"it holds the balances of installation {theirs.decode()}, PostgreSQL is that of {ours}"
    )


async def installation(pg: Any) -> str:
    """The id that this PostgreSQL was given when its tables were made; a backup has the same."""
    return str(await pg.fetchval("SELECT installation FROM store"))
