"""The audit trail: every change of money or master data with who, when, from where, before and after; append-only, in
one chain whoever writes (docs/audit.md)."""

import asyncio
from typing import Any

import asyncpg
import pytest

from balances.redis.pending import Pending
from ocs.audit import chain, settling
from tests.ocs.api_harness import TOKEN, ApiHarness


async def trail(harness: ApiHarness, **wanted: Any) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    found = await harness.call("GET", f"/v1/audit?{query}")
    assert found.status_code == 200, found.text
    return list(found.json()["items"])


async def test_money_is_on_the_trail_before_and_after(harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("5.00", key="k1")
    intent, outcome = await trail(harness, account="a1", operation="top_up")
    assert (intent["kind"], outcome["kind"]) == ("intent", "outcome")
    assert intent["request"] == outcome["request"] != ""
    for row in (intent, outcome):
        assert (row["caller"], row["credential"], row["address"]) == ("admin", "admin.token", "127.0.0.1")
        assert row["target"] == "POST /v1/accounts/a1/topups"
    assert (intent["before"]["buckets"], intent["after"]["amount"]) == ({"0": "0.00"}, "5.00")
    assert (outcome["after"]["status"], outcome["after"]["answer"]["balance"]) == (201, "5.00")
    body = {"amount": "-9.00", "reason": "error"}
    await harness.call("POST", "/v1/accounts/a1/adjustments", body, idempotency_key="k2")
    assert [row["after"].get("status") for row in await trail(harness, operation="adjust")] == [None, 409]
    await harness.top_up("5.00", key="k1")  # the same again changes nothing
    assert len(await trail(harness, operation="top_up")) == 2


async def test_master_data_is_on_the_trail_in_its_own_transaction(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.account()
    await harness.subscriber("s1", "a1", "username:u1", password="secret-of-u1")
    await harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "time_zone": "Europe/Berlin"}, if_match="*")
    (zone,) = [
        row for row in await trail(harness, operation="put_account") if row["before"] and row["kind"] == "change"
    ]
    assert (zone["before"][0]["time_zone"], zone["after"][0]["time_zone"]) == ("UTC", "Europe/Berlin")
    assert (zone["target"], zone["caller"]) == ("accounts", "admin")
    made = await trail(harness, operation="put_subscriber")
    assert {row["target"] for row in made} == {"subscribers", "identities", "assignments"}
    assert len({row["request"] for row in made}) == 1
    token = (await harness.call("POST", "/v1/tokens", {"caller": "anna", "roles": ["care"]})).json()["token"]
    everything = str(await trail(harness))
    for secret in ("secret-of-u1", token, TOKEN, "digest"):
        assert secret not in everything
    assert "flat" in str(await trail(harness, operation="put_tariff"))
    await harness.pool.execute("UPDATE accounts SET time_zone = 'UTC'")  # past the API
    (by_hand,) = await trail(harness, caller="db:ocs")
    assert (by_hand["operation"], by_hand["target"], by_hand["request"]) == ("UPDATE", "accounts", "")


async def test_it_is_only_ever_appended_to(harness: ApiHarness) -> None:
    await harness.account()
    for statement in (
        "UPDATE audit SET caller = 'x'",
        "DELETE FROM audit",
        "TRUNCATE audit CASCADE",
        "DELETE FROM audit_chain",
    ):
        with pytest.raises(asyncpg.PostgresError, match="only ever appended"):
            await harness.pool.execute(statement)


async def test_one_chain_whoever_writes(harness: ApiHarness) -> None:
    """Writers at once, a transaction that stays open meanwhile, and several who go on with the chain."""
    await harness.account()
    async with harness.pool.acquire() as slow, slow.transaction():
        await slow.execute("UPDATE accounts SET time_zone = 'Asia/Tokyo'")
        await asyncio.gather(
            *(harness.top_up("1.00") for _ in range(20)), *(chain.go_on(harness.pool) for _ in range(3))
        )
        await chain.go_on(harness.pool)
        waiting = await harness.pool.fetchval("SELECT count(*) - (SELECT count(*) FROM audit_chain) FROM audit")
        assert waiting >= 40, "rows of newer transactions wait for the older one"
    proof = (await harness.call("POST", "/v1/audit/verify")).json()
    assert (proof["sound"], proof["findings"]) == (True, [])
    assert proof["rows"] == await harness.pool.fetchval("SELECT count(*) FROM audit") >= 42
    await harness.sync()
    assert (await harness.call("POST", "/v1/ledger/verify")).json()["sound"]


@pytest.mark.parametrize(
    ("tampers", "says"),
    [
        ("UPDATE audit SET after = '{}' WHERE id = 2", "row 2 is not what it was"),
        ("DELETE FROM audit WHERE id = 2", "row 2 was removed"),
        ("DELETE FROM audit_chain WHERE n = 2", "the chain has no numbers 2 to 2"),
        (
            "INSERT INTO audit (kind, xid, request, caller, credential, address, operation, target, account, key)"
            " SELECT 'change', xid, '', '', '', '', '', '', '', '' FROM audit WHERE id = 1",
            "is not in the chain",
        ),
    ],
    ids=["changed", "removed", "unchained", "put-in"],
)
async def test_who_owns_the_database_is_found_out(harness: ApiHarness, tampers: str, says: str) -> None:
    await harness.account()
    await harness.top_up("1.00")
    while await chain.go_on(harness.pool):
        pass
    assert (await chain.verify(harness.pool)).findings == []
    await harness.sync()
    async with harness.pool.acquire() as pg:
        await pg.execute("SET session_replication_role = replica")  # no trigger fires
        await pg.execute(tampers)
    proof = await chain.verify(harness.pool)
    assert any(says in finding for finding in proof.findings), proof.findings
    found = (await harness.call("POST", "/v1/ledger/verify")).json()["findings"]
    assert {one["what"] for one in found} == {"audit"}


async def test_what_nobody_heard_the_end_of(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends after the call to the live store, or before it: the outcome is as the ledger has it."""
    await harness.account()
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.audit.trail.conclude", killed)
        await harness.top_up("5.00", key="done")
        patch.setattr(harness.store, "post", lambda _: Pending[Any]())  # it never came there
        patch.setattr(harness.backoffice, "_wait_s_max", 0.05)
        await harness.top_up("7.00", key="lost")
    await harness.sync()
    assert await settling.settle(harness.pool) == 0  # it may be under way
    monkeypatch.setattr(settling, "OLD_S", 0)
    assert await settling.settle(harness.pool) == 1
    monkeypatch.setattr(settling, "SURE_S", 0)
    assert await settling.settle(harness.pool) == 1
    assert await settling.settle(harness.pool) == 0
    done, lost = [row for row in await trail(harness, operation="top_up") if row["kind"] == "outcome"]
    assert done["after"] == {
        "by": "ledger",
        "entries": [{"seq": 1, "bucket": 0, "amount": 5_000_000, "after": 5_000_000}],
    }
    assert lost["after"] == {"by": "ledger", "entries": []}
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "5.00"


async def test_no_change_without_its_intent(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await harness.account()

    async def away(*_: object) -> None:
        raise ConnectionError("PostgreSQL is away")

    monkeypatch.setattr("ocs.audit.trail._append", away)
    assert (await harness.top_up("5.00", key="k1")).status_code == 503
    monkeypatch.undo()
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "0.00"
