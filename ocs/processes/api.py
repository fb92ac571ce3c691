"""The HTTP server as a process; see ocs/api."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final

from balances.redis.pending import ended
from ocs.api.auth import callers_of
from ocs.api.server import application, serving
from ocs.backoffice.backoffice import BackOffice
from ocs.backoffice.charging import ChargingDesk
from ocs.backoffice.charging_templates import PlatformTemplates
from ocs.backoffice.voucher_desk import VoucherDesk
from ocs.clock import now_ms
from ocs.config.http import Http
from ocs.config.tree import Config
from ocs.enforcement.session_requests import SessionRequester
from ocs.events.bell import EventBell
from ocs.events.tail import EventTail
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from ocs.master.passwords import StoredPasswords
from ocs.master.projection import Projector, teller
from ocs.master.sealing import sealing_of
from ocs.master.voucher_keys import voucher_keys_of
from ocs.net.own_certificate import OwnCertificate
from ocs.processes.catalog_follower import CatalogFollower
from ocs.processes.charging_context import build_admission, build_context, build_tracer
from ocs.processes.stores import LISTENS, TROUBLE, bounded_pool, live_store, not_ready, primaries_of, witnessed
from ocs.processes.supervisor_link import SupervisorLink, told_to_drain
from ocs.stores.bounded_postgres import BoundedPostgres
from ocs.telemetry import metrics

ABLE_S: Final = 3.0


async def api(config: Config, supervisor: SupervisorLink) -> None:
    """The HTTP server; see ocs/api."""
    async with (
        live_store(config, supervisor) as (redis, store),
        primaries_of(config, redis) as primaries,
        bounded_pool(config, supervisor, config.postgres.connections_max + LISTENS) as pool,
        witnessed(store, pool, supervisor),
        SessionRequester(redis, TROUBLE).running() as requester,
        EventBell(pool).listening() as bell,
    ):
        postgres = BoundedPostgres(pool, within_s=config.http.store_ms_max / 1_000)
        context = build_context(config, redis, store, postgres, config.http.store_ms_max / 1_000)
        admission = build_admission(config, store)
        catalog = CatalogFollower(store.link, redis, context, TROUBLE, admission)
        sealing = sealing_of(config)
        backoffice = BackOffice(
            postgres,
            redis,
            store,
            Projector(postgres, redis, teller(store, now_ms), primaries),
            now_ms,
            ask_network=requester.ask,
            processes=lambda: others(supervisor),
            priced_by=(lambda: priced_by(supervisor)) if "worker" in config.host.roles else None,
            context=context,
            primaries=primaries,
            newest=catalog.newest,
            store_ms_max=config.http.store_ms_max,
            access=config.access,
            transfers=config.transfers,
            tags=config.ledger.tags,
            tail=EventTail(postgres, bell, config.events.followers_max),
            passwords=StoredPasswords(sealing),
            webhooks=config.webhooks,
            secrets=WebhookSecrets(sealing),
            radius=config.radius,
            vouchers=VoucherDesk(voucher_keys_of(config), config.vouchers, supervisor.meter),
            charging=ChargingDesk(
                context,
                admission,
                now_ms,
                supervisor.meter,
                lambda: not_ready(store.link) or catalog.why,
                build_tracer(config, supervisor, store),
                PlatformTemplates(config.charging.templates_max),
            ),
        )
        tail = backoffice.tail
        assert tail is not None
        followers, cut = supervisor.meter.counts(metrics.FOLLOWERS), supervisor.meter.counts(metrics.FOLLOWERS_CUT)
        callers = callers_of(config, backoffice.tokens, backoffice.roles, now_ms)
        if supervisor.listener is None:  # http.listen is off
            while not await told_to_drain(supervisor):
                supervisor.report(True)
            return
        await _able(supervisor, lambda: not_ready(store.link) or catalog.why)
        app = application(backoffice, callers, config.http, supervisor.meter)
        async with own_certificate(config.http) as tls, serving(app, supervisor.listener, config.http, tls):
            while not await told_to_drain(supervisor):
                followers[()], cut[()] = tail.followers, tail.cut
                supervisor.report(True)
            await tail.close()
        supervisor.report(False, "draining")


async def _able(supervisor: SupervisorLink, why_not: Callable[[], str]) -> None:
    """Until it can serve all that is asked, so that a process that follows another one refuses nothing at first; not
    for long: where a store is away it says so itself."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ABLE_S):
            while why_not() and not supervisor.draining.is_set():
                await supervisor.beat()


async def others(supervisor: SupervisorLink) -> dict[str, str]:
    """State of each other process by role and number, `ok` or what is wrong, as /readyz shows it."""
    return {
        f"{child.role} {child.number}": child.reason or ("ok" if child.ready else "not ready")
        for child in await supervisor.children()
        if (child.role, child.pid) != ("api", os.getpid())
    }


async def priced_by(supervisor: SupervisorLink) -> int:
    """The oldest tariff version that a worker of this host prices by; 0 when no worker has tariffs yet."""
    workers = [child for child in await supervisor.children() if child.role == "worker" and child.ready]
    return min((worker.catalog for worker in workers), default=0)


@contextlib.asynccontextmanager
async def own_certificate(http: Http) -> AsyncIterator[ssl.SSLContext | None]:
    """The TLS of the API, looked after for as long as the block lasts; None: it speaks plain HTTP."""
    if not http.tls_cert:
        yield None
        return
    own = OwnCertificate(http.tls_cert, http.tls_key, http.tls_client_ca)
    keeping = asyncio.create_task(own.keep())
    try:
        yield own.context
    finally:
        await ended((keeping,))
