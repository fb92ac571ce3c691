"""The back office on real stores, opened as a keeper would: a BackOffice, its HTTP application, and a client."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import msgspec
from redis.asyncio import Redis

from balances import keys
from balances.ledger.opening import ShardOpening
from balances.ledger.sync import Sync
from balances.redis.connection import RedisConnection
from balances.redis.pending import Pending
from balances.redis.primaries import plain
from balances.redis.store import Store
from balances.structs.session import Session
from ocs.api.auth import Callers
from ocs.api.server import application
from ocs.backoffice.backoffice import BackOffice
from ocs.backoffice.charging import ChargingDesk
from ocs.backoffice.prices import EVER_MS
from ocs.backoffice.voucher_desk import VoucherDesk
from ocs.charging.diameter.translate import to_request
from ocs.charging.handle import ChargingContext, handle
from ocs.charging.request import ChargingAnswer
from ocs.charging.settings import ChargingSettings
from ocs.clock import now_ms
from ocs.config.backoffice import VoucherRules
from ocs.config.http import Http
from ocs.config.radius import Radius, RadiusClient
from ocs.config.values import Secret
from ocs.events.bell import EventBell
from ocs.events.tail import EventTail
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from ocs.master.catalog import FIELDS, unpack_catalog
from ocs.master.profiles import ProfileCache
from ocs.master.projection import Projector, teller
from ocs.master.sealing import Sealing
from ocs.master.voucher_keys import VoucherKeys
from ocs.net.admission import Admission
from ocs.net.step import stepped
from ocs.stores.bounded_postgres import BoundedPostgres
from ocs.telemetry.metrics import Meter
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from tariffs.catalog import Catalog
from tests.servers import Servers

TOKEN = "test-token"

FLAT = """
tariff = "flat"
currency = "EUR"

[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
"""


class ApiHarness:
    """`call(...)` is an HTTP request of the admin; `sync()` copies the streams to PostgreSQL."""

    def __init__(self, redis: Redis, pool: Any, link: RedisConnection, bell: EventBell) -> None:
        self.redis: Any = redis
        self.pool = pool
        self.link = link
        self.store = Store(link)
        self.pushed: list[tuple[str, str]] = []
        self.ahead_ms = 0
        self.projector = Projector(pool, redis, teller(self.store, self.now_ms))
        self.context = ChargingContext(
            catalog=Catalog(),
            profiles=ProfileCache(link),
            store=self.store,
            settings=ChargingSettings(event_ahead_ms=EVER_MS, event_behind_ms=EVER_MS),
            restore=self._absent,
            session_known=self._absent,
            request_known=self._absent,
            event_known=self._absent,
            jitter=lambda: 0,
        )
        self.backoffice = BackOffice(
            BoundedPostgres(pool, within_s=3.0),
            redis,
            self.store,
            self.projector,
            self.now_ms,
            ask_network=self._ask_network,
            processes=self._processes,
            context=self.context,
            newest=self.newest,
            secrets=WebhookSecrets(Sealing([bytes(32)])),
            radius=Radius(clients=(RadiusClient("10.0.0.0/8", Secret("s"), group="bras"),)),
            tail=EventTail(pool, bell),
            tags=("channel", "cashier"),
            vouchers=VoucherDesk(VoucherKeys([bytes(32)]), VoucherRules(), Meter()),
            charging=ChargingDesk(self.context, Admission(200, 200), self.now_ms, Meter()),
        )
        app: Any = application(
            self.backoffice, Callers({TOKEN: "admin"}, self.backoffice.tokens), Http(body_bytes_max=100_000)
        )
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://ocs")
        self._sync = Sync(plain(redis), pool, alarm=print)

    def now_ms(self) -> int:
        return now_ms() + self.ahead_ms

    async def sync(self) -> None:
        while (await self._sync.step()).written:
            pass

    async def charge(self, asked: CreditControlRequest, at_ms: int | None = None) -> ChargingAnswer:
        """As a worker would, by the tariffs that are published now."""
        await self.newest()
        request = to_request(asked, "gw.example.net", self.context.settings)
        answer = await stepped(handle(request, self.context, at_ms or self.now_ms()))
        assert isinstance(answer, ChargingAnswer), answer
        return answer

    async def newest(self) -> None:
        version, *packed = await self.redis.hmget(keys.CATALOG, "version", *FIELDS)
        if version is not None:
            self.context.catalog = unpack_catalog(int(version), packed).catalog

    def _absent(self, *asked: object) -> Pending[None]:
        nothing = Pending[None]()
        nothing.resolve(None)
        return nothing

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes | str) or body is None else msgspec.json.encode(body)
        sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, content=content, headers=sent)

    async def account(self, account: str = "a1", **settings: Any) -> dict[str, Any]:
        made = await self.call("PUT", f"/v1/accounts/{account}", {"currency": "EUR"} | settings)
        assert made.status_code == 201, made.text
        return dict(made.json())

    async def top_up(self, amount: str, account: str = "a1", key: str = "", **more: Any) -> httpx.Response:
        key = key or str(uuid.uuid4())
        return await self.call("POST", f"/v1/accounts/{account}/topups", {"amount": amount} | more, idempotency_key=key)

    async def tariff(self, text: str = FLAT, tariff: str = "flat") -> None:
        made = await self.call("PUT", f"/v1/tariffs/{tariff}", text, content_type="application/toml", if_match="*")
        if made.status_code == 412:
            made = await self.call("PUT", f"/v1/tariffs/{tariff}", text, content_type="application/toml")
        assert made.status_code in (200, 201), made.text

    async def subscriber(self, subscriber: str, account: str, *identities: str, **more: Any) -> httpx.Response:
        body = {"account": account, "identities": identities, "tariffs": [{"tariff": "flat"}]} | more
        return await self.call("PUT", f"/v1/subscribers/{subscriber}", body)

    async def _ask_network(self, kind: str, session: Session) -> Any:
        self.pushed.append((kind, session.id))
        return SimpleNamespace(result=2001, host="pgw.example.net")

    async def _processes(self) -> dict[str, str]:
        return {}


@contextlib.asynccontextmanager
async def api_harness(servers: Servers) -> AsyncIterator[ApiHarness]:
    redis = Redis.from_url(servers.redis_url, protocol=2)
    pool = await asyncpg.create_pool(servers.pg_dsn, min_size=0, max_size=4)
    opening = Sync(plain(redis), pool, alarm=print)
    await ShardOpening(plain(redis), pool, opening.writer, alarm=print).run(now_ms() // 1000)
    link = RedisConnection(servers.redis_url, now_ms=now_ms)
    await link.start(5)
    bell = EventBell(pool)
    made = ApiHarness(redis, pool, link, bell)
    await made.projector.project()
    try:
        yield made
    finally:
        assert made.backoffice.tail is not None
        await made.backoffice.tail.close()
        await made.client.aclose()
        await link.stop()
        await pool.close()
        await redis.aclose()
