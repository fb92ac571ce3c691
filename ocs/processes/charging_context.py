"""Builds what a process that charges needs from its configuration and stores: ChargingContext, Admission, Tracer."""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import Callable

from balances.redis.store import Store
from ocs.charging.handle import ChargingContext
from ocs.charging.settings import ChargingSettings
from ocs.clock import now_ms
from ocs.config.tree import Config
from ocs.master.profiles import ProfileCache
from ocs.net.admission import Admission
from ocs.processes.stores import Redis
from ocs.processes.supervisor_link import SupervisorLink
from ocs.stores.bounded_postgres import BoundedPostgres
from ocs.stores.metered import MeteredStore
from ocs.stores.slow_paths import SlowPaths
from ocs.tracing.tracer import LOOK as LOOK_WHO_TRACES
from ocs.tracing.tracer import Tracer
from tariffs.catalog import Catalog


def jitter() -> Callable[[], int]:
    """0 to 1000, evenly: 619 has no factor in common with 1001. What has to differ is one grant from the next, so a
    walk does as well as chance, without a system call a request."""
    walk = itertools.count(secrets.randbelow(1_001))
    return lambda: next(walk) * 619 % 1_001


def build_context(
    config: Config, redis: Redis, store: Store, postgres: BoundedPostgres, within_s: float
) -> ChargingContext:
    """within_s: how long one slow path may take"""
    slow_paths = SlowPaths(postgres, redis, store, now_ms, within_s)
    charging = config.charging
    return ChargingContext(
        catalog=Catalog([], 0),
        profiles=ProfileCache(store.link, charging.profiles_max),
        store=store,
        settings=ChargingSettings(
            services=charging.table(),
            clients={peer.origin_host: peer.profile for peer in config.diameter.peers},
            identity_order=charging.identity_order,
            jitter_permille=int(charging.validity_jitter * 1_000),
            overrun_factor=charging.overrun_factor,
            remember_ms=charging.remember_s * 1_000,
        ),
        restore=slow_paths.restore,
        session_known=slow_paths.session_known,
        request_known=slow_paths.request_known,
        refundable=slow_paths.refundable,
        lines_known=slow_paths.lines_known,
        event_known=slow_paths.event_known,
        tell=slow_paths.tell,
        jitter=jitter(),
    )


def build_admission(config: Config, store: MeteredStore) -> Admission:
    diameter = config.diameter
    return Admission(
        diameter.in_flight_max,
        diameter.peer_in_flight_max,
        wait_us=config.charging.answer_ms_max * 1_000 // 2,
        waits=store.waits,
        oldest_us=store.link.oldest_us,
    )


def build_tracer(config: Config, supervisor: SupervisorLink, store: MeteredStore) -> Tracer:
    """Which looks who traces with each check of the fence."""
    tracer = Tracer(store.link, supervisor.name, config.radius.known.attributes, socket.gethostname())
    store.link.ask_too(LOOK_WHO_TRACES, tracer.looked)
    return tracer
