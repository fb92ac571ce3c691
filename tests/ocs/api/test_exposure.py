"""Money at stake, against amounts computed by hand."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from balances import keys
from balances.redis.primaries import ALL, Primary
from ocs.backoffice import exposure
from ocs.backoffice.at_stake import IN_PART_MS, LATELY_MS
from ocs.stores.unheld_money import UnheldBook
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlRequest,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
)
from tests.ocs.api_harness import ApiHarness
from tests.ocs.net.world import ccr
from tests.servers import Servers

MB = 1_048_576


def begins(whose: str, session: str, megabytes: int, peer: str = "gw.example.net") -> CreditControlRequest:
    """At 0.01 for each megabyte."""
    who = SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=whose)
    wish = RequestedServiceUnit(cc_total_octets=megabytes * MB)
    frame = ccr(
        0,
        session,
        origin_host=peer,
        cc_request_type=CcRequestType.INITIAL_REQUEST,
        subscription_id=(who,),
        multiple_services_credit_control=(MultipleServicesCreditControl(rating_group=10, requested_service_unit=wish),),
    )
    return CreditControlRequest.decode(frame)


async def seen(harness: ApiHarness) -> dict[str, Any]:
    found = await harness.call("GET", "/v1/exposure")
    assert found.status_code == 200, found.text
    answer: dict[str, Any] = found.json()
    return answer


async def test_nothing_is_at_stake(harness: ApiHarness) -> None:
    found = await seen(harness)
    assert found["total"] == {}
    assert found["held"] == []
    assert found["complete"]
    assert found["waiting"]["records"] == 0


async def test_what_is_held_owed_and_waiting(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.account("rich")
    await harness.account("poor", credit_limit="50.00")
    for name, number in (("rich", "491700000001"), ("poor", "491700000002")):
        await harness.subscriber(name, name, f"msisdn:{number}")
    await harness.call("POST", "/v1/accounts/rich/topups", {"amount": "10.00"}, idempotency_key="1")
    await harness.sync()
    await harness.charge(begins("491700000001", "a;1", 100))
    await harness.charge(begins("491700000001", "a;2", 50, "other.example.net"))
    await harness.charge(begins("491700000002", "a;3", 200))
    before = await seen(harness)
    assert before["waiting"]["records"] == 3
    assert before["waiting"]["debited"] == {}  # they hold, and debit nothing
    await harness.sync()
    found = await seen(harness)
    assert [(one["peer"], one["sessions"], float(one["money"])) for one in found["held"]] == [
        ("gw.example.net", 2, 3.0),
        ("other.example.net", 1, 0.5),
    ]
    (owed,) = found["owed"]
    assert (owed["currency"], owed["accounts"], float(owed["money"])) == ("EUR", 1, 2.0)
    assert {currency: float(money) for currency, money in found["held_on_credit"].items()} == {"EUR": 2.0}
    # 1.00 and 0.50 of the money that is there, 2.00 on credit: held and owed, and lost once.
    assert float(found["total"]["EUR"]) == 3.5
    assert found["waiting"]["records"] == 0


async def test_what_waits_is_read_up_to_a_bound_and_up_to_what_cannot_be_read(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that has stopped is when it is asked for."""
    await harness.account("rich")
    await harness.top_up("10.00", "rich")
    for number in range(3):
        body = {"amount": "-1.00", "reason": "x"}
        done = await harness.call("POST", "/v1/accounts/rich/adjustments", body, idempotency_key=f"a{number}")
        assert done.status_code == 201, done.text
    found = (await seen(harness))["waiting"]
    assert (found["complete"], {one: float(sum_) for one, sum_ in found["debited"].items()}) == (True, {"EUR": 3.0})
    with monkeypatch.context() as patched:
        patched.setattr(exposure, "RECORDS_MAX", found["records"] - 1)
        some = (await seen(harness))["waiting"]
        assert (some["complete"], some["records"], float(some["debited"]["EUR"])) == (False, found["records"], 2.0)
    ledger = keys.ledger(keys.shard_of("rich"))
    await harness.redis.xadd(ledger, {"x": "nothing of ours"}, id=b"%d-*" % int(harness.link.epoch or 0))
    broken = (await seen(harness))["waiting"]
    assert (broken["complete"], broken["records"]) == (False, found["records"] + 1)
    assert float(broken["debited"]["EUR"]) == 3.0


async def test_who_may_see_it(harness: ApiHarness) -> None:
    made = await harness.call("POST", "/v1/tokens", {"caller": "carl", "roles": ["cashier"]})
    token = made.json()["token"]
    refused = await harness.call("GET", "/v1/exposure", authorization=f"Bearer {token}")
    assert refused.status_code == 403


async def at_stake(harness: ApiHarness, **headers: str) -> Any:
    found = await harness.call("GET", "/v1/status", **headers)
    assert found.status_code == 200, found.text
    return found.json()["at_stake"]


async def test_the_status_shows_the_total(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute, and to those who may see it."""
    found = await at_stake(harness)
    assert (found["total"], found["complete"]) == ({}, True)
    await harness.tariff()
    await harness.account("rich")
    await harness.subscriber("rich", "rich", "msisdn:491700000001")
    await harness.call("POST", "/v1/accounts/rich/topups", {"amount": "10.00"}, idempotency_key="1")
    await harness.charge(begins("491700000001", "a;1", 100))
    await harness.charge(begins("491700000001", "a;2", 50))
    assert await at_stake(harness) == found
    harness.ahead_ms += LATELY_MS
    later = await at_stake(harness)
    assert ({currency: float(money) for currency, money in later["total"].items()}, later["complete"]) == (
        {"EUR": 1.5},
        True,
    )
    monkeypatch.setattr(exposure, "LATELY_SESSIONS_MAX", 1)
    harness.ahead_ms += LATELY_MS
    part = await at_stake(harness)
    assert not part["complete"]
    assert 0 < float(part["total"]["EUR"]) < 1.5
    for scopes, sees in ((["hosts.read"], False), (["hosts.read", "ledger.read"], True)):
        made = await harness.call("POST", "/v1/tokens", {"caller": "nora", "roles": ["noc"], "scopes": scopes})
        seen = await at_stake(harness, authorization=f"Bearer {made.json()['token']}")
        assert (seen is not None) == sees


async def at_risk(harness: ApiHarness) -> None:
    """1.00 held by gw.example.net, 2.00 owed."""
    await harness.tariff()
    await harness.account("rich")
    await harness.account("poor", credit_limit="50.00")
    for name, number in (("rich", "491700000001"), ("poor", "491700000002")):
        await harness.subscriber(name, name, f"msisdn:{number}")
    await harness.call("POST", "/v1/accounts/rich/topups", {"amount": "10.00"}, idempotency_key="1")
    await harness.charge(begins("491700000001", "a;1", 100))
    await harness.charge(begins("491700000002", "a;3", 200))
    await harness.sync()


@pytest.fixture
def frozen(servers: Servers) -> Iterator[Callable[[], None]]:
    """Called, it stops the live store, until the test is over."""
    stopped: list[int] = []

    def freeze() -> None:
        assert servers.valkey.pid
        stopped.append(servers.valkey.pid)
        os.kill(servers.valkey.pid, signal.SIGSTOP)

    yield freeze
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


async def test_a_live_store_that_hangs_hides_nothing_else(
    harness: ApiHarness, frozen: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await at_risk(harness)
    assert (await seen(harness))["unknown"] == []
    monkeypatch.setattr(exposure, "READ_S", 0.5)
    frozen()
    found = await seen(harness)
    assert (found["held"], found["complete"], found["waiting"]) == ([], False, None)
    assert [(one["currency"], float(one["money"])) for one in found["owed"]] == [("EUR", 2.0)]
    assert [why.partition(":")[0] for why in found["unknown"]] == [
        "held money at the live store (256 of 256 shards)",
        "not in PostgreSQL yet",
    ]
    status = (await harness.call("GET", "/v1/status")).json()
    assert status["shards"] is None
    assert not status["at_stake"]["complete"]
    assert float(status["at_stake"]["total"]["EUR"]) == 2.0
    assert any(why.startswith("how far PostgreSQL is: ") for why in status["unknown"])


async def test_a_postgres_that_is_away_hides_nothing_else(harness: ApiHarness, servers: Servers) -> None:
    await at_risk(harness)
    servers.postgres.stop()
    try:
        found = await seen(harness)
        assert (found["owed"], found["set_aside"], found["waiting"], found["unheld"]) == (None, None, None, None)
        assert sum(float(one["money"]) for one in found["held"]) == 3.0
        assert {why.partition(":")[0] for why in found["unknown"]} == {
            "owed",
            "set aside",
            "not in PostgreSQL yet",
            "came in unheld",
        }
        status = (await harness.call("GET", "/v1/status")).json()
        assert (status["hosts"], status["format"], status["shards"]) == ([], None, None)
        assert status["here"]["redis"] == "ok"
        assert "PostgreSQL" in status["here"]["postgres"]
        assert float(status["at_stake"]["total"]["EUR"]) == 1.0  # held, less what is held on credit
        assert any(why.startswith("hosts and stored format: ") for why in status["unknown"])
    finally:
        servers.postgres.start()
    harness.ahead_ms += IN_PART_MS
    async with asyncio.timeout(30):
        while not (await at_stake(harness))["complete"]:
            harness.ahead_ms += IN_PART_MS
            await asyncio.sleep(0.1)


class TwoPrimaries:
    """A cluster of which one server has gone: its shards are nobody's, or it does not answer."""

    def __init__(self, redis: Any, away: Any, *, listed: bool) -> None:
        rich, poor = keys.shard_of("rich"), keys.shard_of("poor")
        half = frozenset([rich, *sorted(ALL - {rich, poor})[:127]])
        self._all = [Primary("a:1", redis, half)]
        if listed:
            self._all.append(Primary("b:1", away, ALL - half))

    def all(self) -> list[Primary]:
        return self._all

    def of(self, shard: int) -> Primary | None:
        return next((one for one in self._all if shard in one.shards), None)

    async def look(self) -> None:
        """Nothing changes."""


@pytest.mark.parametrize("listed", [True, False])
async def test_one_primary_of_several_that_is_away_hides_its_own_shards_alone(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    await at_risk(harness)
    nobody = Redis.from_url("redis://127.0.0.1:1")
    monkeypatch.setattr(harness.backoffice, "primaries", TwoPrimaries(harness.redis, nobody, listed=listed))
    found = await seen(harness)
    assert [(one["peer"], float(one["money"])) for one in found["held"]] == [("gw.example.net", 1.0)]
    assert not found["complete"]
    assert any("128 of 256 shards" in why for why in found["unknown"])
    status = (await harness.call("GET", "/v1/status")).json()
    assert status["shards"]["lag_entries"] == 0  # of those that are read
    assert any("128 of 256 shards" in why for why in status["unknown"])


async def test_nothing_is_known_where_no_store_answers(
    harness: ApiHarness, frozen: Callable[[], None], servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposure, "READ_S", 0.5)
    frozen()
    servers.postgres.stop()
    try:
        found = await harness.call("GET", "/v1/exposure")
        assert found.status_code == 503
        assert "held money" in found.json()["detail"]
        assert await at_stake(harness) is None
    finally:
        servers.postgres.start()


async def test_what_came_in_unheld_is_shown_by_peer_for_a_day(harness: ApiHarness) -> None:
    counts: dict[tuple[str, ...], int] = {("gw", "unmatched", "EUR"): 1_500_000, ("gw", "late", "EUR"): 500_000}
    book = UnheldBook(counts)
    for _ in range(2):  # what is added once is not added again
        await book.add(harness.pool)
    counts["gw", "late", "EUR"] += 1_000_000
    counts["other", "late", "USD"] = 7_000_000
    await book.add(harness.pool)
    await harness.pool.execute(
        "INSERT INTO unheld_money VALUES (now() - interval '25 hours', 'gw', 'late', 'EUR', 9000000),"
        " (now() - interval '8 days', 'gw', 'late', 'EUR', 9000000)"
    )
    found = await seen(harness)
    assert [(one["peer"], one["currency"], float(one["money"])) for one in found["unheld"]] == [
        ("gw", "EUR", 3.0),
        ("other", "USD", 7.0),
    ]
    assert found["total"] == {}  # it was charged
    assert {of: float(money) for of, money in (await at_stake(harness))["unheld"].items()} == {"EUR": 3.0, "USD": 7.0}
    counts["gw", "late", "EUR"] += 1
    await book.add(harness.pool)
    assert await harness.pool.fetchval("SELECT count(*) FROM unheld_money WHERE hour < now() - interval '7 days'") == 0
