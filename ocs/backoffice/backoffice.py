"""What the functions of the back office share: the stores, the clock, the tariffs in force, the other processes.

PostgreSQL has the accounts' rows, Redis their balances. The operations are functions in the other modules here that
take a BackOffice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from balances import keys
from balances.ledger.reader import STORE_AWAY
from balances.ledger.writer import AWAY
from balances.redis.calls import Lost, NotSent
from balances.redis.primaries import OnePrimary, Primaries
from balances.structs.session import Session
from ocs.access.token_book import TokenBook
from ocs.backoffice.at_stake import LatelyAtStake
from ocs.backoffice.errors import Conflict, FateUnknown, Unavailable
from ocs.backoffice.voucher_desk import VoucherDesk
from ocs.charging.radius.own_attributes import refused_of
from ocs.config.access import Access
from ocs.config.backoffice import Transfers, VoucherRules
from ocs.config.events import Webhooks
from ocs.config.radius import Radius
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from ocs.master.passwords import StoredPasswords
from ocs.stores.bounded_postgres import Away, BoundedPostgres, within
from ocs.stores.shut_shards import shut_shards
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import Meter

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from balances.redis.store import Store
    from ocs.backoffice.charging import ChargingDesk
    from ocs.charging.handle import ChargingContext
    from ocs.charging.settings import ClientProfile
    from ocs.events.tail import EventTail
    from ocs.master.projection import Projector

IN_FORCE_S: Final = 5.0
"""How long a publication waits for the workers, which look twice a second."""
LOOK_S: Final = 0.05


class NetworkAnswer(Protocol):
    """Result of a request to a network element."""

    @property
    def result(self) -> int | str: ...
    @property
    def host(self) -> str: ...


AskNetwork = Callable[[str, Session], Awaitable[NetworkAnswer]]
"""`rar` or `asr`, and the session it is about."""


class BackOffice:
    def __init__(
        self,
        pool: BoundedPostgres,
        redis: Redis,
        store: Store,
        projector: Projector,
        now_ms: Callable[[], int],
        *,
        ask_network: AskNetwork,
        processes: Callable[[], Awaitable[dict[str, str]]],
        priced_by: Callable[[], Awaitable[int]] | None = None,
        context: ChargingContext | None = None,
        newest: Callable[[], Awaitable[None]] | None = None,
        store_ms_max: int = 3_000,
        access: Access = Access(),  # noqa: B008
        transfers: Transfers = Transfers(),  # noqa: B008
        tags: Collection[str] = (),
        tail: EventTail | None = None,
        passwords: StoredPasswords = StoredPasswords(None),  # noqa: B008
        webhooks: Webhooks = Webhooks(),  # noqa: B008
        secrets: WebhookSecrets = WebhookSecrets(None),  # noqa: B008
        radius: Radius = Radius(),  # noqa: B008
        charging: ChargingDesk | None = None,
        primaries: Primaries | None = None,
        vouchers: VoucherDesk = VoucherDesk(None, VoucherRules(), Meter()),  # noqa: B008
    ) -> None:
        """
        processes:    what each other process says of itself
        priced_by:    the oldest version of the tariffs that a worker prices by
        context:      what prices are asked with; None: not by this process
        newest:       brings the tariffs of `context` up to what is published
        store_ms_max: longest wait for the live store
        tail:         the newest events; None: nobody follows them in this process
        primaries:    the servers that have the shards; None: `redis` has all
        tags:         keys that charging tags may have
        charging:     where platforms charge over HTTP; None: not in this process
        """
        self.charging, self.vouchers = charging, vouchers
        self.tail = tail
        self.webhooks, self.secrets = webhooks, secrets
        self.transfers, self.tags = transfers, tags
        self.access, self.roles = access, access.known_roles
        self.tokens = TokenBook(pool, self.roles, now_ms)
        self.passwords, self.radius = passwords, radius
        self._vendors = radius.vendors
        self.pool: Any = pool
        """Of PostgreSQL; raises Away where that does not answer in time."""
        self.redis = redis
        self.primaries = primaries or OnePrimary(redis)
        self.store = store
        self.projector = projector
        self.now_ms = now_ms
        self.ask_network = ask_network
        self._context, self._newest = context, newest
        self._processes, self._priced_by = processes, priced_by
        self._wait_s_max = store_ms_max / 1_000
        self._whole = asyncio.Lock()
        self.at_stake = LatelyAtStake()

    async def primaries_now(self) -> Primaries:
        """The servers that have the shards, asked for now."""
        await self.primaries.look()
        return self.primaries

    async def context(self) -> ChargingContext:
        """The ChargingContext for quotes and explanations, with the tariffs that are published now."""
        if self._context is None:
            raise Unavailable("prices are not served by this process")
        if self._newest is not None:
            await self._newest()
        return self._context

    async def scopes(self) -> Sequence[str]:
        """The scopes that a bucket may have: services, and tags that bundles of published tariffs name."""
        context = await self.context()
        services = context.settings.services.by_name
        return [*services, *sorted(context.catalog.scopes - services.keys())]

    def refused(self, attributes: Mapping[str, str]) -> tuple[str, str] | None:
        """The first attribute of a subscriber that no NAS could be told, and why; None: there is none."""
        return refused_of(attributes, self._vendors.values())

    @property
    def clients(self) -> Mapping[str, ClientProfile]:
        """Configured peers, by Origin-Host."""
        return self._context.settings.clients if self._context is not None else {}

    async def remarks(self) -> dict[str, dict[str, int]]:
        """Counts of unusual requests, by peer."""
        found: dict[str, dict[str, int]] = await self.bounded(self.store.remarks())
        return found

    # ---- calls

    async def bounded(self, call: Awaitable[Any]) -> Any:
        """Wait for a reply of the live store, at most `store_ms_max`. Raises FateUnknown or Unavailable."""
        try:
            async with asyncio.timeout(self._wait_s_max):
                return await call
        except NotSent as why:
            raise Unavailable(f"the live store is shut: {why}") from None
        except (Lost, TimeoutError):
            raise FateUnknown("the live store did not answer: it may have been done, or not") from None

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """For operations that read every account: only one at a time runs."""
        if self._whole.locked():
            raise Conflict("the whole ledger is being looked at already: wait for that")
        await self.pool.fetchval("SELECT 1")  # Away at once: what follows has no bound
        async with self._whole:
            yield

    async def checks(self) -> dict[str, str]:
        """State of each store and process, by name: `ok` or what is wrong."""
        link = self.store.link
        checks = {"redis": (shut_shards(link) or "ok") if link.epoch is not None else link.why}
        try:
            await self.pool.fetchval("SELECT 1")
            checks["postgres"] = "ok"
        except Exception as why:
            checks["postgres"] = str(why) or type(why).__name__
        return checks | await self._processes()

    # ---- master data

    async def publish(self) -> None:
        """Master data was changed and committed: let Redis know at once. If that fails, the keeper does it later."""
        try:
            await within(self._wait_s_max, self.projector.project())
        except Exception as why:
            logger().warning("projection.later", why=repr(why))

    async def in_force_ms(self) -> int | None:
        """Waits until every worker of this host prices by what is published now, and says when that was; None when it
        is not so within IN_FORCE_S: they may be busy with a large table, or down."""
        if self._priced_by is None:
            return None
        try:
            async with asyncio.timeout(IN_FORCE_S):
                published = int(await cast("Any", self.redis).hget(keys.CATALOG, "version") or 0)
                while await self._priced_by() < published:  # noqa: ASYNC110  other processes set no event of ours
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return None
        except STORE_AWAY:
            return None
        return self.now_ms()


def trouble_of(why: Exception) -> Unavailable | None:
    """The error that a caller gets for an error of a store; None when it is no error of a store, but a fault of
    ours."""
    if isinstance(why, Away):
        return Unavailable(f"{why}; try again")
    if isinstance(why, AWAY + STORE_AWAY):
        return Unavailable("a store does not answer; try again")
    return None
