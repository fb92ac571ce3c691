"""A real PostgreSQL put back from its own dump while the live store went on (durability.md rule 12): nothing is lost
that the store still has, nothing is charged, cashed or given back twice."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from balances import keys
from balances.ledger.verify import verify
from ocs.master.projection import PostgresOlder
from ocs.processes.embedded import find_postgres
from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.api.test_refunds import MB, call, refund
from tests.ocs.api.test_transfers import balances, keeper, send, sound
from tests.ocs.api.test_vouchers import made, redeem
from tests.ocs.api_harness import FLAT, ApiHarness
from tests.ocs.charging.wire import E, I, ccr, lines, mscc
from tests.servers import Servers


def pg_tool(name: str, servers: Servers, *options: str) -> None:
    """Of the PostgreSQL that runs; where it came without its tools there is nothing to try."""
    tool = find_postgres() / name
    if not tool.exists():
        pytest.skip(f"no {name} beside this PostgreSQL")
    subprocess.run([tool, "--dbname", servers.pg_dsn, *options], check=True, capture_output=True, text=True, timeout=60)


async def put_back(harness: ApiHarness, servers: Servers, dump: Path) -> None:
    await harness.pool.expire_connections()
    await harness.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    pg_tool("pg_restore", servers, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(dump))
    await harness.pool.expire_connections()
    harness._sync.forget()


async def balance(harness: ApiHarness, account: str) -> str:
    return str((await harness.call("GET", f"/v1/accounts/{account}")).json()["balance"])


async def recover(harness: ApiHarness, **more: object) -> dict[str, object]:
    done = await harness.call("POST", "/v1/ledger/recovery", {"reason": "disk of db1 died"} | more)
    assert done.status_code == 200, done.text
    published = (await harness.redis.get(keys.PUBLISHED)).rpartition(b" ")[2]
    async with asyncio.timeout(30):
        while harness.link.epoch != published:  # the pass of before is void
            await asyncio.sleep(0.05)
    return dict(done.json())


@pytest.mark.parametrize("trimmed", [False, True], ids=["streams whole", "streams trimmed"])
async def test_what_the_live_store_has_is_brought_back(
    harness: ApiHarness, servers: Servers, tmp_path: Path, trimmed: bool
) -> None:
    await harness.account()
    await harness.top_up("1.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await harness.subscriber("gone", "a1", "msisdn:491700000009")
    [code] = await made(harness, count=1)
    await harness.sync()
    pg_tool("pg_dump", servers, "--format=custom", f"--file={tmp_path / 'dump'}")
    # A day goes by.
    await harness.tariff(FLAT.replace('"0.01"', '"0.02"'))
    await harness.account("a2", time_zone="Europe/Berlin")
    first = await harness.top_up("2.00", "a2", key="topup-1")
    limit = {"amount": "1.00", "period": "month"}
    await harness.subscriber("s2", "a2", "msisdn:491700000002", attributes={"segment": "gold"})
    assert (await harness.call("PUT", "/v1/subscribers/s2/limits/spent", limit)).status_code == 201
    assert (await harness.call("DELETE", "/v1/subscribers/gone", if_match="*")).status_code == 204
    await call(harness, "gw;1;1", 3)
    await harness.charge(ccr(I, session_id="gw;2;1", **lines(mscc(10, ask={"cc_total_octets": MB}))))
    given = await refund(harness, "back-1", "0.06", entry=2)
    assert given.status_code == 201, given.text
    assert (await redeem(harness, code, "k1")).status_code == 201
    await harness.sync()
    before = [await balance(harness, account) for account in ("a1", "a2")]
    assert before == ["11.00", "2.00"]
    if trimmed:
        for shard in range(keys.SHARDS):
            await harness.redis.xtrim(keys.ledger(shard), maxlen=1, approximate=False)
    await put_back(harness, servers, tmp_path / "dump")
    with pytest.raises(PostgresOlder, match="ocs ledger recover"):
        await harness.projector.project()

    seen = await recover(harness, dry_run=True)
    assert (seen["subscribers"], seen["tariffs"], seen["without_profile"]) == (
        1, 1, ["msisdn:491700000009", "subscriber:gone"])  # fmt: skip
    assert await harness.pool.fetchval("SELECT count(*) FROM subscribers") == 2

    done = await recover(harness)
    assert (done["accounts"], done["subscribers"], done["tariffs"]) == (1, 1, 1)
    assert (done["gaps"], done["voucher_claims"]) == (2 if trimmed else 0, 1)
    # A grant comes with the entry that is copied again, else with the answer.
    assert (done["refund_grants"], done["answers"]) == ((1, 2) if trimmed else (0, 0))
    assert [await balance(harness, account) for account in ("a1", "a2")] == before
    assert (await verify(harness.redis, harness.pool)).findings == []
    # What was done stays done.
    again = await harness.top_up("2.00", "a2", key="topup-1")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert (await redeem(harness, code, "k2", "a2")).status_code == 409
    assert (await refund(harness, "back-2", "0.01", entry=2)).status_code == 422
    # And goes on, by the prices and with the subscribers of before.
    shown = (await harness.call("GET", "/v1/subscribers/s2")).json()
    assert (shown["account"], shown["attributes"]) == ("a2", {"segment": "gold"})
    limits = (await harness.call("GET", "/v1/subscribers/s2/limits")).json()
    assert [one["name"] for one in limits["items"]] == ["spent"]
    assert (await harness.call("GET", "/v1/accounts/a2")).json()["time_zone"] == "Europe/Berlin"
    assert (await harness.call("GET", "/v1/tariffs/flat")).headers["etag"] == '"2"'
    await call(harness, "gw;3;1", 3)
    assert await balance(harness, "a1") == "10.94"
    await harness.sync()
    assert (await verify(harness.redis, harness.pool)).findings == []
    # Once more does no harm.
    same = await recover(harness)
    assert [same[name] for name in ("changes", "gaps", "orphaned", "accounts", "subscribers", "answers")] == [0] * 6


async def trim(harness: ApiHarness) -> None:
    """As a keeper does when all is copied, but of the last record: what came before is in a gap then."""
    for account in ("a1", "b1"):
        await harness.top_up("0.01", account)
    await harness.sync()
    for shard in range(keys.SHARDS):
        await harness.redis.xtrim(keys.ledger(shard), maxlen=1, approximate=False)


async def the_transfer(harness: ApiHarness) -> tuple[str, str]:
    await harness.sync()
    [row] = (await harness.call("GET", "/v1/accounts/a1/transfers")).json()["items"]
    return row["state"], row["to"]


@pytest.mark.parametrize("copied", ["nothing", "the first leg"])
@pytest.mark.parametrize("made", ["sent", "received", "returned"])
async def test_legs_in_a_gap_are_put_in_order(
    harness: ApiHarness, servers: Servers, tmp_path: Path, copied: str, made: str
) -> None:
    await harness.account("a1")
    await harness.account("b1")
    await harness.top_up("10.00", "a1")
    await harness.sync()
    dump = tmp_path / "dump"
    if copied == "nothing":
        pg_tool("pg_dump", servers, "--format=custom", f"--file={dump}")
    assert (await send(harness, "k1", "3.00")).json()["state"] == "sent"
    await harness.sync()
    if copied == "the first leg":
        pg_tool("pg_dump", servers, "--format=custom", f"--file={dump}")
    if made == "returned":
        closed = await harness.call("POST", "/v1/accounts/b1/closing", {"reason": "x"}, idempotency_key="c1")
        assert closed.status_code == 201, closed.text
    if made != "sent":
        await keeper(harness)
    if made == "returned":
        active = {"currency": "EUR", "state": "active"}
        assert (await harness.call("PUT", "/v1/accounts/b1", active, if_match="*")).status_code == 200
    await trim(harness)
    before = await balances(harness)
    assert before == {"sent": ("7.01", "0.01"), "received": ("7.01", "3.01"), "returned": ("10.01", "0.01")}[made]
    await put_back(harness, servers, dump)
    done = await recover(harness)
    expected = {"sent": 1, "received": 2, "returned": 3}[made] - (copied == "the first leg")
    assert (done["transfer_legs"], done["legs_by_hand"]) == (expected, [])
    await harness.sync()
    assert (await verify(harness.redis, harness.pool)).findings == []
    assert await balances(harness) == before
    # It ends once, also when the live store has forgotten what it answered.
    async for key in harness.redis.scan_iter(match="{s*}:once:*transfer*"):
        await harness.redis.delete(key)
    await keeper(harness)
    lost = copied == "nothing" and made == "sent"  # nobody knows where it was going
    ended = "received" if made == "sent" else made
    assert await the_transfer(harness) == (("returned", "") if lost else (ended, "b1"))
    after = ("10.01", "0.01") if lost else ("7.01", "3.01")
    assert await balances(harness) == (after if made == "sent" else before)
    assert await sound(harness)
    assert (await recover(harness))["transfer_legs"] == 0


async def spent(harness: ApiHarness) -> str:
    [limit] = (await harness.call("GET", "/v1/subscribers/s1/limits")).json()["items"]
    return str(limit["used"])


@pytest.mark.parametrize("trimmed", [False, True], ids=["streams whole", "streams trimmed"])
async def test_what_was_given_back_after_the_backup_is_given_back_once(
    harness: ApiHarness, servers: Servers, tmp_path: Path, trimmed: bool
) -> None:
    """Of a session, an entry and an event, with what they turned back of limits; and one that was reversed."""
    await harness.account()
    await harness.account("b1")
    await harness.top_up("10.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    limit = {"amount": "1.00", "period": "ever"}
    assert (await harness.call("PUT", "/v1/subscribers/s1/limits/all", limit)).status_code == 201
    for n in (1, 2, 3):
        await call(harness, f"gw;{n};1", 4)
    sms = {"session_id": "sms;1", **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))}
    await harness.charge(ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **sms))
    await harness.sync()
    pg_tool("pg_dump", servers, "--format=custom", f"--file={tmp_path / 'dump'}")
    given: list[tuple[str, str, str, dict[str, Any]]] = [
        ("k1", "0.02", "0.02", {"session": "gw;1;1"}),
        ("k2", "0.04", "0", {"entry": 3}),
        ("k3", "0.05", "0", {"event": {"session": "sms;1"}}),
        ("k4", "0.04", "0.04", {"session": "gw;3;1"}),
    ]
    for key, amount, _, of in given:
        done = await refund(harness, key, amount, **of)
        assert done.status_code == 201, done.text
    await harness.sync()
    typo = {"entry": 9, "reason": "typo"}
    assert (await harness.call("POST", "/v1/accounts/a1/reversals", typo, idempotency_key="r1")).status_code == 201
    await harness.sync()
    used = await spent(harness)
    if trimmed:
        await trim(harness)
    before = await balance(harness, "a1")
    await put_back(harness, servers, tmp_path / "dump")
    await recover(harness)
    assert (await balance(harness, "a1"), await spent(harness)) == (before, used)
    async for name in harness.redis.scan_iter(match="{s*}:once:*"):
        await harness.redis.delete(name)
    for key, _, left, of in given:
        over = await refund(harness, f"over-{key}", f"{float(left) + 0.01:.2f}", **of)
        assert over.status_code == 422, (of, over.text)
        if left != "0":
            rest = await refund(harness, f"rest-{key}", left, **of)
            assert rest.status_code == 201, (of, rest.text)
    assert await spent(harness) == "0.00"
    await harness.sync()
    assert (await verify(harness.redis, harness.pool)).findings == []
