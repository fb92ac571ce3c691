"""What is taken out goes in again: export, import elsewhere, export, and both are the same."""

import csv
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from balances.ledger.verify import verify
from balances.structs.account import Account, Bucket
from balances.structs.thresholds import ServiceSuspension, Threshold
from ocs.api.export_lines import CELLS
from ocs.api.import_csv import COLUMNS
from ocs.api.import_line import from_json
from ocs.api.schema_import import (
    ImportAccount,
    ImportBucket,
    ImportLimit,
    ImportServiceLine,
    ImportSubscriber,
    ImportThreshold,
)
from ocs.backoffice import exports
from ocs.backoffice.imports import begun
from ocs.master.accounts import AccountRow, OpeningBucket
from ocs.master.bulk import FileLine
from ocs.master.subscribers import Subscriber
from tariffs.limits import SpendingLimit
from tests.ocs.api.imports import errors
from tests.ocs.api_harness import ApiHarness


async def filled(harness: ApiHarness) -> None:
    """Accounts `uno-...` with all that there is."""
    await harness.tariff()
    await harness.account("uno-rich", customer="uno-C", tags=["vip", "x"], billing_day=15, time_zone="Europe/Berlin")
    await harness.account("uno-debt", credit_limit="50", suspend_below="-10", resume_at="0")
    await harness.account("uno-closed", state="closed", currency="USD")
    assigned = [{"tariff": "flat", "until": "2030-01-01T00:00:00Z"}, {"tariff": "flat", "from": "2030-01-01T00:00:00Z"}]
    s1 = {"payers": {"data": "uno-debt"}, "attributes": {"segment": "gold, old"}, "password": "p w"}
    made = await harness.subscriber("uno-s1", "uno-rich", "username:uno1", "sip:uno@x.org", tariffs=assigned, **s1)
    assert made.status_code == 201, made.text
    limit = {"amount": "1000", "kind": "octets", "period": "day", "services": ["data"], "not_visited": ["262*"]}
    await done(harness, "PUT", "/v1/subscribers/uno-s1/limits/abroad", limit)
    made = await harness.subscriber("uno-s2", "uno-closed", barred=True)
    assert made.status_code == 201, made.text
    times = {"valid_from": "2030-01-01T00:00:00Z", "valid_until": "2031-01-01T00:00:00Z"}
    for amount, more in (
        ("20", {}),
        ("5.5", {"bonus": True, "name": "gift", "priority": 7}),
        (
            "1000",
            {
                "kind": "octets",
                "scope": ["data"],
                "valid_for_s": 3600,
                "member": "uno-s1",
                "blocker": True,
                "hours": "mon-fri 22:00-06:00",
            },
        ),
        ("60", {"kind": "seconds", **times}),
        ("3", {"kind": "units", "name": "used up"}),
        ("2", {"kind": "units", "name": "blocks on", "blocker": True}),
        ("90", {"kind": "seconds", "money": "1.50", "name": "both", "valid_for_s": 60, "blocker": True}),
        ("8", {"kind": "units", "money": "0.75", "name": "money left"}),
    ):
        topped_up = await harness.top_up(amount, "uno-rich", **more)
        assert topped_up.status_code == 201, topped_up.text
    await adjusted(harness, "uno-rich", "-3", 4)
    await adjusted(harness, "uno-rich", "-2", 5)
    await adjusted(harness, "uno-rich", "-1", 1)
    await adjusted(harness, "uno-rich", "-0.30", 7)
    await adjusted(harness, "uno-rich", "-8", 8)
    await adjusted(harness, "uno-rich", "-2.25", 0)
    threshold = {"kind": "octets", "percent": 20, "rearm_percent": 50}
    await done(harness, "PUT", "/v1/accounts/uno-rich/thresholds/low", threshold)
    await done(
        harness, "PUT", "/v1/accounts/uno-rich/thresholds/money", {"below": "5", "rearm": "8", "service": "data"}
    )
    await done(harness, "PUT", "/v1/accounts/uno-rich/services/data", {"suspend_below": "1", "resume_at": "2"})
    await done(harness, "PUT", "/v1/accounts/uno-rich/limits/all", {"amount": "50", "period": "month from 15"})
    await done(harness, "PUT", "/v1/subscribers/uno-s1/limits/mine", {"amount": "1", "period": "day"})
    await done(
        harness,
        "PUT",
        "/v1/subscribers/uno-s1/limits/all-in",
        {"amount": "5000000", "kind": "octets", "period": "ever"},
    )
    await harness.newest()
    event = {"service": "data", "subscriber": "uno-s1", "lines": [{"rating_group": 10, "requested": {"octets": 1000}}]}
    await done(harness, "POST", "/v1/charging/events", event, idempotency_key="use")
    await adjusted(harness, "uno-debt", "-12", 0)
    await harness.account("uno-created", state="created")
    await harness.account("uno-grace", state="grace", grace_until="2099-01-01T00:00:00Z")
    await harness.account("uno-barred", state="suspended", suspend_for="barred")


async def adjusted(harness: ApiHarness, account: str, amount: str, bucket: int) -> None:
    body = {"amount": amount, "bucket": bucket, "reason": "r"}
    await done(harness, "POST", f"/v1/accounts/{account}/adjustments", body, idempotency_key=f"{account}{bucket}")


async def done(harness: ApiHarness, method: str, path: str, body: Any, **headers: str) -> None:
    answer = await harness.call(method, path, body, **headers)
    assert answer.status_code in (200, 201), answer.text


async def exported(harness: ApiHarness, query: str = "", suffix: str = "") -> str:
    answer = await harness.call("GET", f"/v1/export{suffix}{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize(
    ("suffix", "media_type"), [("", "application/x-ndjson"), (".csv", "text/csv")], ids=["ndjson", "csv"]
)
async def test_out_and_in_and_out_is_the_same(harness: ApiHarness, suffix: str, media_type: str) -> None:
    """The second time under other names, so that they stand beside the first."""
    await filled(harness)
    out = await exported(harness, "?passwords=true", suffix)
    renamed = out.replace("uno", "due")
    answer = await harness.call("POST", "/v1/import", renamed.encode(), content_type=media_type)
    events = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    assert (errors(events), events[-1]["event"]) == ([], "done")
    assert (events[-1]["accounts_created"], events[-1]["subscribers_created"]) == (6, 2)
    again = await exported(harness, "?passwords=true", suffix)
    assert sorted(line for line in again.splitlines() if "due" in line) == sorted(renamed.splitlines()[suffix != "" :])
    await harness.sync()
    assert await harness.pool.fetchval("SELECT count(*) FROM quarantined") == 0
    # on the trail its rows name who imported (docs/audit.md)
    callers = await harness.pool.fetch(
        "SELECT DISTINCT caller FROM audit WHERE kind = 'change' AND target = 'accounts' AND after::text LIKE '%due-%'"
    )
    assert [row["caller"] for row in callers] == ["admin"]


async def test_what_was_used_of_limits_goes_with_the_account(harness: ApiHarness) -> None:
    """No more may be spent elsewhere than was left."""
    await harness.tariff()
    await harness.account("uno-a")
    await harness.top_up("5.00", "uno-a")
    await harness.subscriber("uno-s", "uno-a", "username:uno")
    for name, period in (("ever", "ever"), ("today", "day")):
        await done(harness, "PUT", f"/v1/subscribers/uno-s/limits/{name}", {"amount": "0.03", "period": period})
    await harness.newest()

    async def buys(who: str, key: str, megabytes: int) -> int:
        line = {"rating_group": 10, "requested": {"octets": megabytes << 20}}
        event = {"service": "data", "subscriber": who, "lines": [line]}
        return (await harness.call("POST", "/v1/charging/events", event, idempotency_key=key)).status_code

    assert await buys("uno-s", "e1", 2) == 200
    out = await exported(harness)
    account = msgspec.json.decode(out.splitlines()[0].encode())["account"]
    assert [(one["key"].split("|")[:2], one["used"], "until" in one) for one in account["counters"]] == [
        (["limit=uno-s", "ever"], 20_000, False),
        (["limit=uno-s", "today"], 20_000, True),
    ]
    renamed = out.replace("uno", "due").encode()
    answer = await harness.call("POST", "/v1/import", renamed, content_type="application/x-ndjson")
    assert answer.content.splitlines()[-1].startswith(b'{"event":"done"'), answer.text
    await harness.newest()
    shown = (await harness.call("GET", "/v1/subscribers/due-s/limits")).json()["items"]
    assert {(one["name"], one["used"], one["left"]) for one in shown} == {
        ("ever", "0.02", "0.01"),
        ("today", "0.02", "0.01"),
    }
    assert (await buys("due-s", "e2", 2), await buys("due-s", "e3", 1), await buys("due-s", "e4", 1)) == (402, 200, 402)
    harness.ahead_ms += 8 * 86_400_000
    later = msgspec.json.decode((await exported(harness)).splitlines()[0].encode())["account"]["counters"]
    assert [one["key"].split("|")[1] for one in later] == ["ever"], "of a day that is over nothing matters"


@pytest.mark.parametrize(
    ("counters", "field"),
    [
        ([{"key": "k", "used": 1}, {"key": "k", "used": 2}], "account.counters[1].key"),
        ([{"key": "", "used": 1}], "account.counters[0].key"),
        ([{"key": "a\nb", "used": 1}], "account.counters[0].key"),
        ([{"key": "k", "used": -1}], "account.counters[0].used"),
        ([{"key": "k", "used": 2**53}], "account.counters[0].used"),
        ([{"key": "k", "used": 1, "window": "never"}], "account.counters[0].window"),
    ],
)
async def test_counters_that_cannot_be(harness: ApiHarness, counters: list[Any], field: str) -> None:
    line = msgspec.json.encode({"account": {"id": "x", "currency": "EUR", "counters": counters}})
    answer = await harness.call("POST", "/v1/import", line, content_type="application/x-ndjson")
    events = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    assert [one["field"] for one in events if one["event"] == "error"] == [field]


CSV_OR_NDJSON = {"content_type": "application/x-ndjson"}


async def vouchers_of_all_kinds(harness: ApiHarness) -> dict[str, list[str]]:
    """Batches "uno-a" with its codes out, "uno-b" with codes nobody has seen, "uno-c" of imported codes: by batch, what
    may be redeemed."""
    await harness.account("uno-acc")
    bundle = {"kind": "octets", "amount": "1000", "valid_for_s": 3600, "scope": ["data"], "name": "n"}
    for id_, more in (
        ("uno-a", {"count": 4, "expires": "2099-01-01T00:00:00Z"}),
        ("uno-b", bundle | {"count": 2, "currency": None}),
        ("uno-c", {"count": 0, "codes": "imported"}),
    ):
        body = {"amount": "10.00", "currency": "EUR", "reference": "r"} | more
        await done(harness, "PUT", f"/v1/voucher-batches/{id_}", body)
    answer = await harness.call("POST", "/v1/voucher-batches/uno-a/export", {})
    codes = [msgspec.json.decode(line)["code"] for line in answer.content.splitlines()]
    await done(harness, "POST", "/v1/voucher-batches/uno-c/import", {"codes": ["ABCDEF1", "ABCDEF2"]})
    for id_ in ("uno-a", "uno-b", "uno-c"):
        await done(harness, "PUT", f"/v1/voucher-batches/{id_}/state", {"state": "active"})
    await done(harness, "POST", "/v1/voucher-batches/uno-a/vouchers/2/block", {})
    assert await redeemed(harness, codes[2], "first") == 201
    await harness.sync()
    return {"a": codes, "c": ["ABCDEF1", "ABCDEF2"]}


async def redeemed(harness: ApiHarness, code: str, key: str) -> int:
    body = {"code": code, "account": "uno-acc"}
    return (await harness.call("POST", "/v1/vouchers/redeem", body, idempotency_key=key)).status_code


async def brought_in(harness: ApiHarness, lines: str, query: str = "") -> tuple[list[Any], Any]:
    """Errors, and the last event."""
    answer = await harness.call("POST", f"/v1/import{query}", lines.encode(), **CSV_OR_NDJSON)
    events = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    return errors(events), events[-1]


async def emptied(harness: ApiHarness) -> None:
    """As a server that has no vouchers."""
    await harness.pool.execute("TRUNCATE voucher_claims, voucher_codes, vouchers, voucher_batches")


async def test_a_batch_that_was_moved_is_good_on_one_server_only(harness: ApiHarness) -> None:
    """From before the first line of it is written; it can be taken back, without what was redeemed there."""
    codes = await vouchers_of_all_kinds(harness)
    as_it_was = await exported(harness, "?vouchers=true")
    path = "/v1/voucher-batches/uno-a"
    for _ in range(2):
        moved = (await harness.call("PUT", f"{path}/state", {"state": "moved"})).json()
        assert (moved["state"], moved["redeemed"], moved["outstanding"]) == ("moved", 1, 0)
    assert await exported(harness, "?vouchers=true") == as_it_was, "active, as it was"
    assert await redeemed(harness, codes["a"][0], "m0") == 409
    assert (await harness.call("GET", f"{path}/vouchers/1")).json()["state"] == "moved"
    assert (await harness.call("POST", f"{path}/export", {})).json()["type"] == "urn:ocs:problem:conflict"
    for state in ("active", "blocked"):
        refused = await harness.call("PUT", f"{path}/state", {"state": state})
        assert (refused.status_code, "another server" in refused.json()["detail"]) == (409, True)
    # What the other server says of it when it is moved back: the fourth was redeemed there.
    lines = [line for line in as_it_was.splitlines() if '"uno-a"' in line and '"vouchers"' in line]
    [there] = [msgspec.json.decode(line) for line in lines]
    there["vouchers"]["redeemed"].append({"serial": 4, "time": "2026-11-30T00:00:00Z", "account": "x"})
    assert (await brought_in(harness, msgspec.json.encode(there).decode() + "\n"))[0] == []
    assert await redeemed(harness, codes["a"][0], "m1") == 409
    back = await harness.call("PUT", f"{path}/state", {"state": "active", "take_back": True})
    assert (back.status_code, back.json()["state"], back.json()["redeemed"]) == (200, "active", 2)
    assert [await redeemed(harness, code, f"b{code}") for code in codes["a"]] == [201, 409, 409, 409]


@pytest.mark.parametrize("moved", [True, False])
async def test_codes_that_went_out_there_do_not_go_out_here_again(harness: ApiHarness, *, moved: bool) -> None:
    """docs/vouchers.md: plain codes go out once, and what was blocked there stays so. A batch that was never moved is
    as it is here."""
    await vouchers_of_all_kinds(harness)
    path = "/v1/voucher-batches/uno-b"
    as_it_was = await exported(harness, "?vouchers=true")
    if moved:
        await done(harness, "PUT", f"{path}/state", {"state": "moved"})
    batch, lot = (msgspec.json.decode(line) for line in as_it_was.splitlines() if '"uno-b"' in line)
    batch["voucher_batch"]["exported"] = "2026-11-30T00:00:00Z"
    del lot["vouchers"]["sealed"]
    lot["vouchers"]["blocked"] = [2]
    lines = "".join(msgspec.json.encode(line).decode() + "\n" for line in (batch, lot))
    for _ in range(2):
        assert (await brought_in(harness, lines))[0] == []
    await done(harness, "PUT", f"{path}/state", {"state": "active", "take_back": moved})
    states = [(await harness.call("GET", f"{path}/vouchers/{serial}")).json()["state"] for serial in (1, 2)]
    assert states == ["active", "blocked" if moved else "active"]
    assert (await harness.call("POST", f"{path}/export", {})).status_code == (410 if moved else 200)
    sealed = await harness.pool.fetchval("SELECT count(*) FROM voucher_codes WHERE batch = 'uno-b'")
    assert sealed == 0


async def test_vouchers_are_good_on_the_other_server_and_none_twice(
    harness: ApiHarness,
) -> None:
    codes = await vouchers_of_all_kinds(harness)
    out = await exported(harness, "?vouchers=true")
    assert not any(code.replace("-", "") in out for code in codes["a"] + codes["c"])
    assert "voucher" not in await exported(harness)
    lines = [line for line in out.splitlines() if '{"voucher' in line]
    assert [next(iter(msgspec.json.decode(line))) for line in lines] == ["voucher_batch", "vouchers"] * 3
    await emptied(harness)
    vouchers = "".join(f"{line}\n" for line in lines)
    assert (await brought_in(harness, vouchers, "?check=true"))[1]["vouchers_created"] == 8
    assert "voucher" not in await exported(harness, "?vouchers=true"), "a check changes nothing"
    wrong, last = await brought_in(harness, vouchers)
    assert (wrong, last["vouchers_created"], last["vouchers_unchanged"]) == ([], 8, 0)
    assert await exported(harness, "?vouchers=true") == out
    wrong, last = await brought_in(harness, vouchers)
    assert (wrong, last["vouchers_created"], last["vouchers_unchanged"]) == ([], 0, 8)
    batch = (await harness.call("GET", "/v1/voucher-batches/uno-a")).json()
    assert (batch["made"], batch["redeemed"], batch["blocked"], batch["outstanding"]) == (4, 1, 1, 2)
    shown = (await harness.call("GET", "/v1/voucher-batches/uno-a/vouchers/3")).json()
    assert (shown["state"], shown["account"], shown["entry"]) == ("redeemed", "uno-acc", None)
    assert [await redeemed(harness, code, f"a{code}") for code in codes["a"]] == [201, 409, 409, 201]
    with pytest.raises(asyncpg.PostgresError, match="redeemed on another server"):  # by a build that does not know it
        await harness.pool.execute(
            "INSERT INTO voucher_claims (batch, serial, account, source, reference, claimed_ms, claimed_by, request,"
            " fingerprint) VALUES ('uno-a', 3, 'uno-acc', '', '', 1, 'x', 'x', 'x')"
        )
    assert [await redeemed(harness, code, f"c{code}") for code in codes["c"]] == [201, 201]
    assert (await harness.call("POST", "/v1/voucher-batches/uno-a/export", {})).status_code == 410
    answer = await harness.call("POST", "/v1/voucher-batches/uno-b/export", {})
    fresh = [msgspec.json.decode(line)["code"] for line in answer.content.splitlines()]
    assert [await redeemed(harness, code, f"b{code}") for code in fresh] == [201, 201]
    await harness.sync()
    account = (await harness.call("GET", "/v1/accounts/uno-acc")).json()
    assert account["balance"] == "50.00"
    proof = await verify(harness.redis, harness.pool)
    assert proof.sound, proof.lines()
    for at, line in enumerate(lines):  # goes on after any line
        said = msgspec.json.decode(line)
        after = f"{said['vouchers']['batch']}/1" if "vouchers" in said else f"{said['voucher_batch']['id']}/0"
        rest = (await exported(harness, f"?vouchers=true&after=vouchers:{after}")).splitlines()
        assert len(rest) == len(lines) - at - 1


async def test_vouchers_that_cannot_be_brought_in(harness: ApiHarness) -> None:
    await vouchers_of_all_kinds(harness)
    out = await exported(harness, "?vouchers=true")
    batch, lot = (msgspec.json.decode(line) for line in out.splitlines() if "uno-a" in line and "voucher" in line)
    sealed = next(msgspec.json.decode(line) for line in out.splitlines() if '"sealed"' in line)
    await emptied(harness)

    async def field(line: dict[str, Any], made: int = 0) -> list[str]:
        wrong, last = await brought_in(harness, msgspec.json.encode(line).decode())
        assert last["vouchers_created"] == made
        return [one["field"] for one in wrong]

    def of_batch(**more: Any) -> dict[str, Any]:
        return {"voucher_batch": batch["voucher_batch"] | more}

    def of_lot(**more: Any) -> dict[str, Any]:
        return {"vouchers": lot["vouchers"] | more}

    assert await field(lot) == ["vouchers.batch"], "its batch comes before"
    assert await field(batch | lot) == [""]
    assert await field(of_batch(currency="ABC")) == ["voucher_batch.currency"]
    assert await field(of_batch(count=0)) == ["voucher_batch.count"]
    assert await field(of_batch(scope=["nothing"])) == ["voucher_batch.scope"]
    assert await field(batch) == []
    assert await field(of_batch(amount="11.00")) == ["voucher_batch.id"]
    assert await field(of_lot(digests=["zz"])) == ["vouchers.digests[0]"]
    assert await field(of_lot(first=2)) == ["vouchers.digests"], "more than the batch has"
    assert await field(of_lot(blocked=[9])) == ["vouchers.blocked"]
    assert await field(of_lot(digests=[*lot["vouchers"]["digests"][:3], "00" * 32]), made=4) == []
    assert await field(lot) == ["vouchers.digests"], "serial 4 is another voucher"
    other = {"voucher_batch": msgspec.json.decode(msgspec.json.encode(batch))["voucher_batch"] | {"id": "b"}}
    assert await field(other) == []
    assert await field(of_lot(batch="b")) == ["vouchers.digests"], "these codes are of another batch"
    for line in out.splitlines():
        if '"uno-b"' in line and "voucher_batch" in line:
            assert await field(msgspec.json.decode(line)) == []
    sealed["vouchers"]["sealed"] = "sealed1$nobody$" + "A" * 40
    assert await field(sealed) == ["vouchers.sealed"]


async def test_who_may_take_vouchers_out_and_bring_them_in(harness: ApiHarness) -> None:
    made = await harness.call("POST", "/v1/tokens", {"caller": "b", "roles": ["care"]})
    headers = {"authorization": f"Bearer {made.json()['token']}"}
    assert (await harness.client.get("/v1/export?vouchers=true", headers=headers)).status_code == 403
    assert (await harness.call("GET", "/v1/export.csv?vouchers=true")).status_code == 422
    assert (await harness.call("GET", "/v1/export?after=vouchers:x/1")).status_code == 422
    assert (await harness.call("GET", "/v1/export?vouchers=true&after=vouchers:x")).status_code == 422
    await done(harness, "PUT", "/v1/voucher-batches/v", {"amount": "1", "currency": "EUR", "count": 1})
    (line,) = (await exported(harness, "?vouchers=true")).splitlines()[:1]
    wanted = FileLine(1, from_json(line.encode(), "b"))

    async def batches() -> AsyncIterator[list[FileLine]]:
        yield [wanted]

    (done_,) = [one async for one in begun(harness.backoffice, "b", vouchers=False).run(batches())]
    assert [(number, why.kind) for number, why in done_.errors] == [(1, "forbidden")]


async def test_it_goes_on_after_any_line(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(harness)
    monkeypatch.setattr(exports, "AT_ONCE", 2)
    whole = await exported(harness)
    lines = whole.splitlines(keepends=True)
    assert [re.findall(r'"id":"(uno-\w+)"', line)[0] for line in lines] == [
        *("uno-barred", "uno-closed", "uno-created", "uno-debt", "uno-grace", "uno-rich", "uno-s1", "uno-s2"),
    ]
    assert "password" not in whole
    for at, after in ((0, "account:uno-barred"), (5, "account:uno-rich"), (6, "subscriber:uno-s1")):
        assert await exported(harness, f"?after={after}") == "".join(lines[at + 1 :])
        rest = list(csv.reader(io.StringIO(await exported(harness, f"?after={after}", ".csv"))))
        assert len(rest) == len(lines) - at - 1
    assert (await harness.call("GET", "/v1/export?after=uno-rich")).status_code == 422


async def test_passwords_only_for_who_may(harness: ApiHarness) -> None:
    made = await harness.call("POST", "/v1/tokens", {"caller": "b", "roles": ["billing"]})
    assert made.status_code == 201, made.text
    secret = made.json()["token"]
    for query, status in (("", 200), ("?passwords=true", 403)):
        headers = {"authorization": f"Bearer {secret}"}
        assert (await harness.client.get(f"/v1/export{query}", headers=headers)).status_code == status


ELSEWHERE = {
    Bucket: {"id", "held", "from_ms", "until_ms", "window_ms", "part_of", "rest"},
    OpeningBucket: {"from_ms", "until_ms", "window_ms", "is_part"},
    Threshold: {"crossed_ms", "tariff", "rearm", "percent"},
    ServiceSuspension: {"suspended_ms"},
    SpendingLimit: {"shared"},
    Subscriber: {"version", "created_ms"},
    AccountRow: {"created_ms", "opened_by", "grace_until_ms"},
    Account: {
        *("version", "rev", "profile_rev", "seq", "clock_ms", "next_bucket", "generation"),
        *("grace_until_ms", "activated_ms", "fees", "clock"),
    },
}
"""Fields that an export does not have, or that it calls otherwise: an instant is written as a time."""


@pytest.mark.parametrize(
    ("stored", "exported"),
    [
        (Bucket, ImportBucket),
        (OpeningBucket, ImportBucket),
        (Threshold, ImportThreshold),
        (ServiceSuspension, ImportServiceLine),
        (SpendingLimit, ImportLimit),
        (Subscriber, ImportSubscriber),
        (AccountRow, ImportAccount),
        (Account, ImportAccount),
    ],
    ids=lambda one: one.__name__,
)
def test_no_field_is_lost(stored: type[msgspec.Struct], exported: type[msgspec.Struct]) -> None:
    """A new field of what is stored is exported, or it is said above that it is not."""
    assert set(stored.__struct_fields__) - set(exported.__struct_fields__) == ELSEWHERE[stored] - set(
        exported.__struct_fields__
    )
    assert set(CELLS) <= set(COLUMNS)
