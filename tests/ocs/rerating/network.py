"""The whole store: CCRs charged by the real scripts, by tariffs that were published, copied by the real writer."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from balances import keys
from balances.ledger.history import UsageWindow
from ocs.charging.diameter.translate import to_request
from ocs.charging.handle import ChargingContext, handle
from ocs.charging.request import ChargingAnswer
from ocs.charging.services import service_table
from ocs.charging.settings import ChargingSettings
from ocs.master.catalog import FIELDS, unpack_catalog
from ocs.master.profiles import ProfileCache
from ocs.net.step import stepped
from ocs.rerating.job import Job, Written
from ocs.rerating.run import rate_again
from ocs.rerating.tally import RatingTally
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import cca, ccr
from tests.tariffs.traffic import Traffic

DAY_MS = 86_400_000


async def nothing(*_: object) -> None:
    return None


class Network:
    """Sends CCRs; time is as the sender says."""

    def __init__(self, harness: ApiHarness, dsn: str) -> None:
        self.harness, self.dsn = harness, dsn
        self.now_ms = harness.now_ms() + 1_000
        self.context: ChargingContext | None = None

    async def open(self) -> None:
        """With the tariffs of now."""
        version, *packed = await self.harness.redis.hmget(keys.CATALOG, "version", *FIELDS)
        self.context = ChargingContext(
            catalog=unpack_catalog(int(version), packed).catalog,
            profiles=ProfileCache(self.harness.link),
            store=self.harness.store,
            settings=ChargingSettings(services=service_table({}, {})),
            restore=nothing,
            session_known=nothing,
            request_known=nothing,
            event_known=nothing,
            jitter=lambda: 0,
        )

    async def send(self, *args: Any, **fields: Any) -> Any:
        """The CCA as the client decodes it."""
        if self.context is None:
            await self.open()
        assert self.context is not None
        asked = ccr(*args, **fields)
        request = to_request(asked, "gw.example.net", self.context.settings)
        answer = await stepped(handle(request, self.context, self.now_ms))
        assert isinstance(answer, ChargingAnswer), answer
        return cca(asked, answer)

    async def traffic(self, seed: int, *documents: str, steps: int = 60) -> None:
        """What random traffic sends, by people who have the first document."""
        made = Traffic(Random(seed), *documents)
        made.run(steps)
        for document in documents:
            name = msgspec.toml.decode(document)["tariff"]
            await self.harness.tariff(document, name)
        for account in ("a0", "a1"):
            model = made.world.model.accounts[account]
            zone = next(one.time_zone for one in made.world.known.values() if one.account == account)
            await self.harness.account(account, time_zone=zone)
            await self.harness.top_up("50", account)
            for bucket in model.buckets:
                if bucket.kind:
                    await self.harness.top_up("1000", account, kind=("", "octets", "seconds", "units")[bucket.kind])
        for who in range(4):
            known = made.world.known[f"msisdn:4917{who}"]
            done = await self.harness.subscriber(
                f"s{who}",
                known.account,
                f"msisdn:4917{who}",
                tariffs=[{"tariff": one.tariff} for one in known.assignments],
                attributes=known.attributes,
            )
            assert done.status_code == 201, done.text
        began_ms, first_ms = self.now_ms, made.sent[0][0]
        for at_ms, kind, fields in made.sent:
            self.now_ms = began_ms + at_ms - first_ms
            await self.send(kind, **fields)
        await self.harness.sync()

    def job(self, document: str = "", **fields: Any) -> Job:
        """Of all there is."""
        given: dict[str, Any] = {"window": UsageWindow(0, self.now_ms + 10 * DAY_MS), "top": 1_000}
        if document:
            given["written"] = Written(document.encode(), "toml", "draft.toml", {})
        return Job(self.dsn, **(given | fields))

    async def again(self, document: str = "", processes: int = 1, **fields: Any) -> RatingTally:
        return await rate_again(self.job(document, **fields), lambda records: None, processes)
