"""The keeper as a process: it opens shards and copies records; see ocs/keeper/keeper.py."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec
from redis.asyncio import Redis

from balances.ledger.event_filter import EventFilter
from balances.postgres import STANDS_STILL
from balances.redis.address import is_plain
from balances.redis.client_connections import cancellable
from balances.redis.clients import slow_client
from balances.structs.session import Session
from ocs.charging.login_hours import hours_left_s
from ocs.charging.profile import Profile
from ocs.charging.radius.own_attributes import own_of
from ocs.charging.radius.vendor_profile import VendorProfile
from ocs.charging.services import UNKNOWN
from ocs.clock import now_ms
from ocs.config.tree import Config
from ocs.enforcement.choosing import NetworkPolicy
from ocs.enforcement.executors.change import ChangeExecutor
from ocs.enforcement.executors.disconnect import DisconnectExecutor
from ocs.enforcement.executors.executor import Executor
from ocs.enforcement.executors.radius_answers import NasRoute
from ocs.enforcement.job import NetworkAction, is_radius
from ocs.enforcement.session_grades import SessionGrades
from ocs.enforcement.settings import EnforcementSettings
from ocs.events.pump import EventPump
from ocs.events.redis_stream import RedisStreamSink
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from ocs.keeper.events import EventSettings
from ocs.keeper.keeper import Keeper
from ocs.keeper.metrics import kept_counts
from ocs.keeper.watch import stopped_text
from ocs.master.bring_defaults import bring_defaults
from ocs.master.bring_in import bring_in
from ocs.master.graded_tariffs import GradedTariffs
from ocs.master.profiles import profiles_of
from ocs.master.projection import Projector, teller
from ocs.master.sealing import sealing_of
from ocs.master.subscribers import served
from ocs.net.diameter.peers import Peers
from ocs.net.radius.clients import NasClients
from ocs.net.radius.dynamic_authorization import DynamicAuthorizer
from ocs.processes.stores import LISTENS, bounded_pool, live_store, primaries_of
from ocs.processes.supervisor_link import SupervisorLink, told_to_drain
from ocs.telemetry.log import logger

ProfilesOf = Callable[[Collection[str]], Awaitable[Mapping[str, Profile]]]


@contextlib.asynccontextmanager
async def _pump(config: Config, pool: Any) -> AsyncIterator[EventPump | None]:
    """What delivers events to a sink, where one is configured."""
    to = config.events.redis
    if to.off:
        yield None
        return
    async with sink_client(to.url.reveal()) as redis:
        yield EventPump(pool, RedisStreamSink(redis, to.stream, to.maxlen), EventFilter(to.types))


def sink_client(url: str) -> Any:
    """Of the operator's own server, cluster or Sentinels."""
    if not is_plain(url):
        return slow_client(url, socket_timeout=10)
    return cancellable(Redis.from_url(url, protocol=2, socket_connect_timeout=5, socket_timeout=10))


def radius_executors(
    config: Config, authorizer: DynamicAuthorizer, grades: SessionGrades, profiles: ProfilesOf
) -> tuple[Executor, ...]:
    """CoA and Disconnect. profiles: of subscribers, by their ids"""
    services = config.charging.table().by_name
    clients = NasClients(config.radius)

    def route(session: Session) -> tuple[NasRoute, VendorProfile] | None:
        client = clients.of(session.via)
        return None if client is None else (NasRoute(client.listens(session.via), client.secret), client.vendor)

    hard = NetworkAction.DISCONNECT if config.enforcement.escalate else None

    async def hours_left(session: Session) -> int | None:
        profile = (await profiles([session.subscriber])).get(session.subscriber)
        row = services.get(session.service, UNKNOWN)
        return None if profile is None else hours_left_s(profile, row.login_hours, now_ms())

    async def subscriber(session: Session) -> Mapping[str, str]:
        profile = (await profiles([session.subscriber])).get(session.subscriber)
        attributes = {} if profile is None else profile.attributes
        return own_of(attributes, services.get(session.service, UNKNOWN))

    def inside(session: Session) -> Mapping[str, int]:
        client = clients.of(session.via)
        return {} if client is None else client.profile.services

    change = ChangeExecutor(
        authorizer.ask,
        route,
        services,
        grades.now,
        hard,
        inside=inside,
        hours_left=hours_left,
        subscriber=subscriber,
        now_ms=now_ms,
    )
    return change, DisconnectExecutor(authorizer.ask, route)


def extensible(config: Config) -> Callable[[Session], bool]:
    """Whether the client of a session takes another Session-Timeout or volume limit (`can_extend` of its profile)."""
    clients = NasClients(config.radius)

    def extends(session: Session) -> bool:
        client = clients.of(session.via) if is_radius(session.peer) else None
        return client is not None and client.vendor.can_extend

    return extends


async def keeper(config: Config, supervisor: SupervisorLink) -> None:
    """Run a keeper until it is told to end; see ocs/keeper/keeper.py."""
    async with (
        live_store(config, supervisor) as (redis, store),
        primaries_of(config, redis) as primaries,
        bounded_pool(config, supervisor, config.postgres.connections_max + LISTENS, STANDS_STILL) as pool,
        _pump(config, pool) as pump,
        DynamicAuthorizer(lambda: now_ms() // 1_000).open() as authorizer,
    ):
        projector = Projector(pool, redis, teller(store, now_ms), primaries)
        peers = Peers(config.diameter.peers)
        tariffs = GradedTariffs(redis)
        profiles: ProfilesOf = lambda subscribers: profiles_of(redis, subscribers)  # noqa: E731
        grades = SessionGrades(
            lambda: tariffs.catalog,
            profiles,
            config.charging.table().by_name,
            now_ms,
        )
        restored = lambda account: bring_in(pool, redis, store, account, now_ms())  # noqa: E731
        it = Keeper(
            redis,
            pool,
            store,
            logger(),
            primaries=primaries,
            now_ms=now_ms,
            token=f"{config.host.name or socket.gethostname()} {secrets.token_hex(8)}",
            project=projector.project,
            bring_defaults=lambda: bring_defaults(pool, store, restored, now_ms),
            bring_in=restored,
            served=lambda account, asked: served(pool, account, asked),
            label=peers.name,
            policy=NetworkPolicy(
                {row.name: NetworkAction(row.on_suspend.value) for row in config.charging.table().rows},
                peers.never_reauthorizes,
                extensible(config),
            ),
            enforcement=EnforcementSettings(**msgspec.structs.asdict(config.enforcement)),
            executors=radius_executors(config, authorizer, grades, profiles),
            tariffs=tariffs,
            grades=grades,
            jitter=lambda: 0.8 + secrets.randbelow(401) / 1_000,
            ignores_origin_state=peers.ignores_origin_state,
            validity_ms=config.charging.validity_s * 1_000,
            alarm_ms=config.ledger.alarm_s * 1_000,
            durability=config.durability,
            promise=config.redis.promise,
            accept_risks=config.redis.accept_risks,
            without_postgres=config.open_without_postgres,
            events=EventSettings(
                keep_ms=config.events.keep_days * 86_400_000,
                behind_alarm_ms=config.events.behind_alarm_s * 1_000,
                expiring_soon_ms=config.events.expiring_soon_s * 1_000,
            ),
            pump=pump,
            webhooks=config.webhooks,
            secrets=WebhookSecrets(sealing_of(config)),
            tries_s=config.vouchers.window_s,
            fees_rate=config.fees.rate,
            sample_rate=config.ledger.sample_rate,
            verify_at=config.ledger.verify_at,
            keep_months={"usage": config.ledger.keep_usage_months, "entries": config.ledger.keep_entries_months},
            format_after_s=config.upgrade.after_s,
        )
        tell = kept_counts(it, supervisor.meter)
        await it.start()
        while not await told_to_drain(supervisor):
            tell()
            if it.refused:
                supervisor.unfit(it.refused)
            # Stopped shards are charged on: what they ask for is a person, not another server. Shut ones are opened as
            # soon as that can be, and others are served meanwhile.
            stopped = stopped_text(it.watch.now.stopped)
            degraded = "degraded: " if config.ledger.when_stopped == "degraded" else ""
            partly = f"degraded: {it.shut}" if it.shut else stopped and degraded + stopped
            supervisor.report(not it.why, it.why or partly)
        supervisor.report(False, "draining")
        await it.stop()
