"""The list of suspense: what was reported and not charged is found, and settled once (charging.md section 2)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.ledger import history, suspense
from balances.ledger.verify import verify
from balances.structs.record import ASIDE_WAITING_MAX
from ocs.charging.handle import handle
from ocs.charging.radius.accounting import to_charging
from ocs.charging.radius.nas import NasProfile
from ocs.net.step import stepped
from protocol.diameter.dictionary.credit_control import CcMoney, UnitValue
from protocol.radius.dictionary.values import AcctStatusType
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.radius.nas import accounting, shown
from tests.ocs.charging.wire import I, T, U, ccr, lines, mscc
from tests.servers import Servers

MB, GB = 2**20, 2**30
SESSION = "gw;9;1"
NOBODY: dict[str, Any] = {"subscription_id": ()}


@pytest.fixture
async def overrun(harness: ApiHarness) -> ApiHarness:
    """One MB granted, a GB and 15 MB reported: the GB (the most a grant may be) is charged, at 0.01 a MB."""
    await harness.account()
    await harness.top_up("20.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await harness.charge(ccr(I, session_id=SESSION, **lines(mscc(10, ask={"cc_total_octets": MB}))))
    await harness.charge(
        ccr(T, cc_request_number=1, session_id=SESSION, **lines(mscc(10, used={"cc_total_octets": GB + 15 * MB})))
    )
    await harness.sync()
    return harness


async def listed(harness: ApiHarness, **query: Any) -> list[dict[str, Any]]:
    await harness.sync()
    found = await harness.call("GET", "/v1/suspense?" + "&".join(f"{name}={value}" for name, value in query.items()))
    assert found.status_code == 200, found.text
    return list(found.json()["items"])


async def settle(harness: ApiHarness, of: str, key: str, **body: Any) -> Any:
    return await harness.call(
        "POST", f"/v1/suspense/{of}/settle", {"reason": "agreed by telephone"} | body, idempotency_key=key
    )


async def test_what_passes_the_bound_is_in_the_list(overrun: ApiHarness) -> None:
    (one,) = await listed(overrun)
    assert (one["account"], one["session"], one["request"], one["service"]) == ("a1", SESSION, "3:1", "data")
    assert (one["unit"], one["amount"], one["reason"], one["state"]) == ("octets", str(15 * MB), "over-bound", "open")
    assert one["settled"] is None
    assert await listed(overrun, account="a1", session=SESSION, reason="over-bound", state="open") == [one]
    for other in ({"account": "a2"}, {"session": "x"}, {"reason": "nobody"}, {"state": "charged"}):
        assert await listed(overrun, **other) == []
    assert (await overrun.call("GET", f"/v1/suspense/{one['id']}")).json() == one
    assert (await overrun.call("GET", "/v1/suspense/1-1-1-1")).status_code == 404


async def test_explain_and_the_session_tell_it(overrun: ApiHarness) -> None:
    (one,) = await listed(overrun)
    session = (await overrun.call("GET", f"/v1/sessions/{SESSION}")).json()
    assert session["suspense"] == [one]
    explained = (await overrun.call("GET", f"/v1/explain/sessions/{SESSION}")).json()
    assert explained["suspense"] == [one]
    last = explained["pieces"][-1]
    assert (last["used"], last["set_aside"], last["set_aside_for"]) == (GB, str(15 * MB), "over-bound")


async def test_it_is_charged_once_at_the_clerks_price(overrun: ApiHarness) -> None:
    (one,) = await listed(overrun)
    asked = {"amount": "0.12", "expected": one["amount"], "tags": {"cashier": "7"}}
    done = await settle(overrun, one["id"], "k1", action="charge", **asked)
    assert done.status_code == 200, done.text
    assert (done.json()["state"], done.json()["settled"]["charged"]) == ("charged", "0.12")
    again = await settle(overrun, one["id"], "k1", action="charge", **asked)
    assert again.json() == done.json()
    assert (await settle(overrun, one["id"], "k1", action="charge", amount="9.00")).status_code == 409
    assert (await settle(overrun, one["id"], "k2", action="write-off")).status_code == 409
    account = (await overrun.call("GET", "/v1/accounts/a1")).json()
    assert account["balance"] == "9.64"  # 20.00 - 1024 x 0.01 - 0.12
    (one,) = await listed(overrun, state="charged")
    assert one["settled"] == done.json()["settled"]
    assert (one["settled"]["account"], one["settled"]["by"], one["settled"]["reason"]) == (
        "a1",
        "admin",
        "agreed by telephone",
    )
    ledger = (await overrun.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    entry = next(entry for entry in ledger if entry["seq"] == one["settled"]["seq"])
    assert (entry["amount"], entry["why"], entry["counter_account"]) == ("-0.12", "suspense", "revenue")
    assert entry["tags"] == {"cashier": "7"}
    assert (await verify(overrun.redis, overrun.backoffice.pool)).sound


async def test_without_a_price_the_tariff_of_then_says_it(overrun: ApiHarness) -> None:
    (one,) = await listed(overrun)
    done = await settle(overrun, one["id"], "k1", action="charge")
    assert done.json()["settled"]["charged"] == "0.15"


async def test_a_write_off_moves_nothing(overrun: ApiHarness) -> None:
    (one,) = await listed(overrun)
    done = await settle(overrun, one["id"], "k1", action="write-off")
    assert (done.json()["state"], done.json()["settled"]["charged"]) == ("written-off", None)
    assert (await settle(overrun, one["id"], "k1", action="write-off")).json() == done.json()
    assert (await settle(overrun, one["id"], "k2", action="charge", amount="1.00")).status_code == 409
    assert (await overrun.call("GET", "/v1/accounts/a1")).json()["balance"] == "9.76"


async def test_of_many_clerks_at_once_one_settles_it(overrun: ApiHarness) -> None:
    (one,) = await listed(overrun)
    asked = [settle(overrun, one["id"], f"k{n}", action="charge", amount=f"0.1{n}") for n in range(5)]
    asked += [settle(overrun, one["id"], f"w{n}", action="write-off") for n in range(3)]
    codes = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert codes == [200] + [409] * 7
    (one,) = await listed(overrun)
    charged = one["settled"]["charged"] or "0"
    balance = (await overrun.call("GET", "/v1/accounts/a1")).json()["balance"]
    assert float(balance) == pytest.approx(9.76 - float(charged))
    ledger = (await overrun.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert sum(entry["why"] == "suspense" for entry in ledger) == (charged != "0")


@pytest.mark.parametrize("posted", [False, True], ids=["before", "after"])
async def test_a_crash_beside_the_posting_charges_once(overrun: ApiHarness, posted: bool) -> None:
    """Decided in PostgreSQL, and the process died before or after the live store took the entry."""
    (one,) = await listed(overrun)
    pool, now_ms = overrun.backoffice.pool, overrun.now_ms()
    decided = await suspense.decide(
        *(pool, one["id"], "charging"),
        amount=int(one["amount"]),
        payer="a1",
        charge=120_000,
        by="eve",
        reason="it was so",
        now_ms=now_ms,
        request="http:eve:1",
        fingerprint="f",
        tags="",
    )
    assert decided is not None
    if posted:
        assert (await overrun.store.post(suspense.post_of(decided, now_ms)).wait()).status == "ok"
    (one,) = await listed(overrun)
    assert one["state"] == ("charged" if posted else "charging")
    assert (await settle(overrun, one["id"], "k1", action="write-off")).status_code == 409  # and it is finished
    (one,) = await listed(overrun)
    assert (one["state"], one["settled"]["by"], one["settled"]["charged"]) == ("charged", "eve", "0.12")
    assert (await overrun.call("GET", "/v1/accounts/a1")).json()["balance"] == "9.64"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "charge", "amount": "0.00"}, 422),
        ({"action": "charge", "amount": "-1.00"}, 422),
        ({"action": "charge", "account": "a2", "amount": "1.00"}, 422),
        ({"action": "charge", "amount": "1.00", "expected": "7"}, 409),
        ({"action": "write-off", "amount": "1.00"}, 422),
        ({"action": "forget"}, 422),
        ({"action": "write-off", "reason": ""}, 422),
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_refused(overrun: ApiHarness, body: dict[str, Any], status: int) -> None:
    (one,) = await listed(overrun)
    assert (await settle(overrun, one["id"], "k1", **body)).status_code == status
    assert [found["state"] for found in await listed(overrun)] == ["open"]


async def test_money_of_two_currencies_of_nobody_is_no_sum(harness: ApiHarness) -> None:
    """Nor is use under a context that nobody serves that of another service."""
    for number, (code, digits) in enumerate([(978, 5), (840, 7), (978, 2)], start=1):
        money = {"cc_money": CcMoney(unit_value=UnitValue(value_digits=digits), currency_code=code)}
        asked = lines(mscc(10, used=money))
        await harness.charge(ccr(U, cc_request_number=number, session_id="gw;ghost", **asked, **NOBODY))
    used = lines(mscc(10, used={"cc_total_octets": 5 * MB}))
    asked = {**used, **NOBODY, "service_context_id": "99999@example.net"}
    await harness.charge(ccr(U, cc_request_number=4, session_id="gw;ghost", **asked))
    found = sorted((one["service"], one["unit"], one["currency"] or "", one["amount"]) for one in await listed(harness))
    assert found == [
        ("data", "money", "EUR", "7.00"),
        ("data", "money", "USD", "7.00"),
        ("unknown", "octets", "", str(5 * MB)),
    ]


async def test_use_of_nobody_known_is_one_row_that_grows(harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("1.00")
    used = lines(mscc(10, used={"cc_total_octets": 5 * MB}))
    for number in range(1, 4):
        await harness.charge(ccr(U, cc_request_number=number, session_id="gw;ghost", **used, **NOBODY))
        await harness.sync()
    await harness.charge(ccr(U, cc_request_number=3, session_id="gw;ghost", **used, **NOBODY))  # sent again
    (one,) = await listed(harness)
    assert (one["account"], one["session"], one["reason"], one["reports"]) == (None, "gw;ghost", "nobody", 3)
    assert one["amount"] == str(15 * MB)
    assert (await settle(harness, one["id"], "k0", action="charge", amount="0.15")).status_code == 422  # who pays?
    assert (await settle(harness, one["id"], "k0", action="charge", account="a1")).status_code == 422  # how much?
    done = await settle(harness, one["id"], "k1", action="charge", amount="0.15", account="a1")
    assert done.json()["settled"]["account"] == "a1"
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "0.85"
    await harness.charge(ccr(T, cc_request_number=4, session_id="gw;ghost", **used, **NOBODY))
    assert [found["state"] for found in await listed(harness)] == ["charged", "open"]
    assert (await verify(harness.redis, harness.backoffice.pool)).sound


async def test_counters_of_nobody_known_are_no_sum(harness: ApiHarness) -> None:
    """RADIUS: each report shows all since the session began; what was settled meanwhile is not set aside again."""
    await harness.account()
    await harness.top_up("1.00")

    async def report(lasted_s: int, octets: tuple[int, int]) -> None:
        packet = accounting(AcctStatusType.INTERIM_UPDATE, User_Name="ghost", **shown(lasted_s, octets))
        request = to_charging(packet, NasProfile("bras"), "10.0.0.1", harness.now_ms(), harness.context.settings)
        await stepped(handle(request, harness.context, harness.now_ms()))

    await report(60, (4 * MB, MB))
    await report(120, (7 * MB, 2 * MB))
    await harness.sync()
    await report(180, (9 * MB, 3 * MB))
    await report(120, (7 * MB, 2 * MB))
    octets = [one for one in await listed(harness) if one["unit"] == "octets"]
    assert [(one["amount"], one["reports"]) for one in octets] == [(str(12 * MB), 3)]  # one came twice
    await settle(harness, octets[0]["id"], "k1", action="charge", amount="0.12", account="a1")
    await report(240, (10 * MB, 3 * MB))
    octets = [one for one in await listed(harness) if one["unit"] == "octets"]
    assert [(one["amount"], one["state"]) for one in octets] == [(str(12 * MB), "charged"), (str(MB), "open")]
    seconds = [one["amount"] for one in await listed(harness) if one["unit"] == "seconds"]
    assert seconds == ["240"]


async def test_a_flood_of_unknown_users_leaves_nothing_in_the_live_store(harness: ApiHarness) -> None:
    """Neither a hot key nor state that grows: only the streams, which are trimmed behind PostgreSQL."""
    used = lines(mscc(10, used={"cc_total_octets": MB}))
    before = {key async for key in harness.redis.scan_iter("*")}
    for number in range(600):
        await harness.charge(ccr(T, cc_request_number=1, session_id=f"gw;ghost;{number}", **used, **NOBODY))
    made = {key async for key in harness.redis.scan_iter("*")} - before
    assert all(key.endswith(b":ledger") for key in made)
    assert len(made) > 200  # of 256 shards
    assert len(await listed(harness, reason="nobody", limit=1000)) == 600
    assert await harness.backoffice.pool.fetchval("SELECT count(*) FROM suspense") == 600


async def test_while_nothing_is_copied_unknown_users_are_turned_away(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream of a shard is bounded too: their client is told 3004, everybody else is served."""

    of = keys.ledger(keys.shard_of(keys.nobody("gw;ghost")))
    pipe = harness.redis.pipeline(transaction=False)
    for _ in range(ASIDE_WAITING_MAX):
        pipe.xadd(of, {"r": msgspec.msgpack.encode([])})
    await pipe.execute()
    with pytest.raises(AssertionError, match="Busy"):
        await harness.charge(
            ccr(
                U, cc_request_number=1, session_id="gw;ghost", **lines(mscc(10, used={"cc_total_octets": MB})), **NOBODY
            )
        )


async def test_pages_follow_each_other(harness: ApiHarness) -> None:
    for number in range(5):
        await harness.charge(
            ccr(
                T,
                cc_request_number=1,
                session_id=f"gw;{number}",
                **lines(mscc(10, used={"cc_total_octets": MB})),
                **NOBODY,
            )
        )
    await harness.sync()
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await harness.call("GET", f"/v1/suspense?limit=2&after={after}")).json()
        seen += [one["session"] for one in page["items"]]
        after = page["next"]
    assert sorted(seen) == [f"gw;{number}" for number in range(5)]


async def test_rating_history_again_counts_it(overrun: ApiHarness, servers: Servers) -> None:
    """What was not charged has no ladder to be rated by again, and is not passed over without a word."""
    async with history.connect(servers.pg_dsn) as pg:
        assert await history.set_aside(pg, history.UsageWindow(0, 2**50)) == 1
        assert await history.set_aside(pg, history.UsageWindow(0, 2**50, account="a2")) == 0
