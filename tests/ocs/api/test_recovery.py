"""A real PostgreSQL put back from its own dump while the live store went on (durability.md rule 12): nothing is lost
that the store still has, nothing is charged, cashed or given back twice."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from balances import keys
from balances.ledger.verify import verify
from ocs.master.projection import PostgresOlder
from ocs.processes.embedded import find_postgres
from tests.ocs.api.test_refunds import MB, call, refund
from tests.ocs.api.test_vouchers import made, redeem
from tests.ocs.api_harness import FLAT, ApiHarness
from tests.ocs.charging.wire import I, ccr, lines, mscc
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
    assert (done["refund_grants"], done["answers"]) == ((0, 2) if trimmed else (1, 0))
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
