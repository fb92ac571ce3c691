"""`ocs ledger status`, `resume` and `quarantine`, on a record that was broken on its way."""

import json
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.ledger.writer import read_cursors
from balances.packing import pack
from balances.redis.calls import NotSent
from balances.structs.record import Record
from ocs.stores.slow_paths import SlowPaths
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run

SHARD = keys.shard_of("a1")


async def broken(harness: ApiHarness) -> None:
    """A top-up of 5.00 that is on record with another balance than it led to."""
    await harness.account("a1")
    await harness.top_up("10.00")
    await harness.sync()
    await harness.top_up("5.00", key="five")
    stream = keys.ledger(SHARD)
    at, fields = (await harness.redis.xrevrange(stream, count=1))[0]
    record = msgspec.msgpack.decode(fields[b"r"], type=Record)
    record.entries[0].after += 1
    fields[b"r"] = pack(record)
    async with harness.redis.pipeline(transaction=True) as pipe:
        pipe.delete(stream)
        pipe.xadd(stream, fields, id=at)
        await pipe.execute()


async def asked(ocs: Run, *words: str) -> Any:
    done = await ocs("ledger", *words, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


async def test_an_account_in_quarantine(ocs: Run, harness: ApiHarness) -> None:
    await broken(harness)
    before = await asked(ocs, "status")
    assert (before["lag_entries"], before["stopped"], before["quarantined"]) == (1, 0, [])
    assert [one["lag"] for one in before["shards"] if one["lag"]] == [1]
    assert len(before["shards"]) == keys.SHARDS
    await harness.sync()
    status = await asked(ocs, "status")
    assert (status["lag_entries"], [one["account"] for one in status["quarantined"]]) == (0, ["a1"])
    for words in (("status",), ("quarantine", "list"), ("quarantine", "list", "a1")):
        said = await ocs("ledger", *words)
        assert "10000000 + 5000000 is not 15000001" in " ".join(said.stdout.split()), said.stdout
    wrong = await ocs("ledger", "verify")
    assert (wrong.exit_code, "WRONG quarantined: a1: 1 records" in wrong.stderr) == (1, True)
    # What Redis has lost does not come back, for nobody: 3004 on the wire.
    await harness.redis.delete(keys.account("a1"), keys.once("a1", "http:admin:five"))
    refused = await harness.call("GET", "/v1/accounts/a1")
    assert (refused.status_code, "quarantine" in refused.json()["detail"]) == (503, True)
    again = await harness.top_up("5.00", key="five")
    assert (again.status_code, "quarantine" in again.json()["detail"]) == (503, True)
    slow_paths = SlowPaths(harness.pool, harness.redis, harness.store, harness.now_ms, within_s=5)
    with pytest.raises(NotSent):
        await slow_paths.restore("a1").wait()
    with pytest.raises(NotSent, match="quarantine"):
        await slow_paths.event_known("a1", "e 1").wait()
    # Until a person has decided.
    no = await ocs("ledger", "quarantine", "replay", "a1", "--reason", "try")
    assert (no.exit_code, "cannot be replayed" in no.stderr) == (1, True)
    assert (await ocs("ledger", "quarantine", "confirm", "a1")).exit_code == 2  # says no reason
    done = await ocs("ledger", "quarantine", "confirm", "a1", "--reason", "the balance is right")
    assert "0 records replayed, 1 recovered" in done.stdout
    assert (await asked(ocs, "quarantine", "list"))["items"] == []
    account = await harness.call("GET", "/v1/accounts/a1")
    assert account.json()["balance"] == "15.00"
    entries = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert [(one["why"], one["amount"], one["reason"]) for one in entries][1:] == [
        ("recovered", "5.00", "the balance is right")
    ]
    await harness.sync()  # what brought the account in again
    proved = await ocs("ledger", "verify")
    assert (proved.exit_code, proved.stderr) == (0, "")
    for words in (("replay",), ("confirm",)):
        no = await ocs("ledger", "quarantine", *words, "a1", "--reason", "again")
        assert (no.exit_code, "not in quarantine" in no.stderr) == (1, True)
    assert (await ocs("ledger", "quarantine", "list", "a1")).exit_code == 1


async def test_a_stopped_shard(ocs: Run, harness: ApiHarness) -> None:
    await harness.account("a1")
    await harness.sync()
    no = await ocs("ledger", "resume", str(SHARD), "--reason", "x")
    assert (no.exit_code, "is not stopped" in no.stderr) == (1, True)
    await harness.redis.xadd(keys.ledger(SHARD), {"x": "y"}, id=f"{await _epoch(harness)}-*")
    await harness.top_up("1.00")
    await harness.sync()
    status = await asked(ocs, "status")
    assert (status["stopped"], status["lag_entries"]) == (1, 2)
    assert "cannot be read" in next(one["stopped"] for one in status["shards"] if one["shard"] == SHARD)
    assert "cannot be read" in " ".join((await ocs("ledger", "status")).stdout.split())
    for account, says in (("a2", "is of shard"), ("", "")):
        words = ["resume", str(SHARD), "--reason", "x", *(["--account", account] if account else [])]
        done = await ocs("ledger", *words)
        assert says in done.stderr
    await harness.sync()
    assert (await asked(ocs, "status"))["stopped"] == 1
    done = await ocs("ledger", "resume", str(SHARD), "--account", "a1", "--reason", "seen in the log")
    assert f"shard {SHARD} is copied again" in done.stdout
    await harness.sync()
    status = await asked(ocs, "status")
    assert (status["stopped"], status["quarantined"][0]["records"]) == (0, 2)
    assert (await ocs("ledger", "resume", "256", "--reason", "x")).exit_code == 1


async def test_a_person_takes_note(ocs: Run, harness: ApiHarness) -> None:
    await harness.account("a1")
    await harness.sync()
    await harness.pool.execute(
        "INSERT INTO lost_answers (account, session, request_key, at_ms, epoch, currency, cost)"
        " VALUES ('a1', 's;1', '2:1', 1000, 5, 'EUR', 160000)"
    )
    assert json.loads((await ocs("ledger", "status", "--json")).stdout)["lost_answers"] == 1
    assert "1 acknowledged answers" in (await ocs("ledger", "status")).stdout
    assert "0.16" in (await ocs("ledger", "lost")).stdout
    assert "WRONG lost: a1: 1 answers" in (await ocs("ledger", "verify")).stderr
    assert (await ocs("ledger", "lost", "--accept")).exit_code == 2
    assert "1 taken note of" in (await ocs("ledger", "lost", "--accept", "--reason", "credited by hand")).stdout
    await harness.sync()  # what brought the account in again
    proved = await ocs("ledger", "verify")
    assert (proved.exit_code, proved.stderr) == (0, "")
    assert json.loads((await ocs("ledger", "lost", "--json")).stdout)["items"] == []


async def _epoch(harness: ApiHarness) -> int:
    return (await read_cursors(harness.pool)).epoch
