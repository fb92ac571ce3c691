"""Vouchers on the real stores: made, sold, redeemed once, blocked, guessed at (charging.md section 18)."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from balances import keys
from balances.ledger.verify import verify
from balances.ledger.voucher_claims import unfinished
from balances.ledger.writer import AWAY
from ocs.backoffice.voucher_desk import VoucherDesk
from ocs.config.backoffice import VoucherRules
from ocs.events import outbox
from ocs.keeper.settling import UNFINISHED_MS, finish
from ocs.master import voucher_tries
from ocs.master.voucher_keys import VoucherKeys
from ocs.telemetry.metrics import Meter
from tests.ocs.api_harness import ApiHarness

TEN = {"amount": "10.00", "currency": "EUR"}


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, event: str, **fields: object) -> None:
        self.said.append(f"{event} {fields}")


async def made(harness: ApiHarness, batch: str = "b1", count: int = 5, **more: Any) -> list[str]:
    """The plain codes of an active batch."""
    put = await harness.call("PUT", f"/v1/voucher-batches/{batch}", TEN | {"count": count} | more)
    assert put.status_code == 200, put.text
    lines = (await harness.call("POST", f"/v1/voucher-batches/{batch}/export")).text.splitlines()
    await state(harness, "active", batch)
    return [msgspec.json.decode(line)["code"] for line in lines]


async def state(harness: ApiHarness, word: str, batch: str = "b1") -> None:
    put = await harness.call("PUT", f"/v1/voucher-batches/{batch}/state", {"state": word})
    assert put.status_code == 200, put.text


async def redeem(harness: ApiHarness, code: str, key: str, account: str = "a1", **more: Any) -> httpx.Response:
    body = {"code": code, "account": account} | more
    return await harness.call("POST", "/v1/vouchers/redeem", body, idempotency_key=key)


async def balance(harness: ApiHarness, account: str = "a1") -> str:
    return str((await harness.call("GET", f"/v1/accounts/{account}")).json()["balance"])


async def proved(harness: ApiHarness) -> dict[str, dict[str, int]]:
    await harness.sync()
    proof = await verify(harness.redis, harness.pool)
    assert proof.sound, proof.lines()
    return proof.sums


async def test_from_the_making_to_the_ledger(harness: ApiHarness) -> None:
    await harness.account()
    codes = await made(harness)
    assert len(set(codes)) == 5
    stored = await harness.pool.fetch("SELECT * FROM vouchers")
    assert not any(code.replace("-", "").encode() in row["digest"] for code in codes for row in stored)
    assert (await harness.call("POST", "/v1/voucher-batches/b1/export")).status_code == 410
    assert await harness.pool.fetchval("SELECT count(*) FROM voucher_codes") == 0
    done = await redeem(
        harness, f" {codes[0].lower()} ", "k1", source="4917", reference="till 7", tags={"cashier": "7"}
    )
    assert done.status_code == 201, done.text
    (entry,) = done.json()["posting"]["entries"]
    assert (entry["amount"], entry["why"], done.json()["posting"]["balance"]) == ("10.00", "voucher", "10.00")
    assert (await redeem(harness, codes[0], "k1")).json()["type"] == "urn:ocs:problem:key-reused"
    assert (
        await redeem(harness, f" {codes[0].lower()} ", "k1", source="4917", reference="till 7", tags={"cashier": "7"})
    ).json() == done.json()
    again = await redeem(harness, codes[0], "k2")
    assert (again.status_code, again.json()["state"]) == (409, "redeemed")
    assert (await proved(harness))["EUR"] == {"voucher": -10_000_000}
    batch = (await harness.call("GET", "/v1/voucher-batches/b1")).json()
    told = ("made", "redeemed", "credited", "outstanding", "redeemed_value", "outstanding_value")
    assert [batch[name] for name in told] == [5, 1, 1, 4, "10.00", "40.00"]
    (mine,) = (await harness.call("GET", "/v1/vouchers?account=a1")).json()["items"]
    assert (mine["serial"], mine["state"], mine["source"], mine["entry"]) == (1, "redeemed", "4917", 1)
    (entry,) = (await harness.call("GET", "/v1/accounts/a1/ledger?tag=cashier:7")).json()["items"]
    assert (entry["seq"], entry["reference"]) == (1, "till 7")
    await outbox.move(harness.pool)
    types = {row["type"] for row in await harness.pool.fetch("SELECT type FROM events")}
    assert {"voucher.redeemed", "voucher_batch.exported", "top_up.received"} <= types


async def test_a_bundle_is_a_bucket_of_its_own(harness: ApiHarness) -> None:
    await harness.account()
    await harness.tariff()
    bundle: dict[str, Any] = {
        "amount": "1048576",
        "kind": "octets",
        "currency": None,
        "valid_for_s": 3600,
        "scope": ["data"],
        "name": "1 MB",
    }
    (code,) = await made(harness, count=1, **bundle)
    assert (await redeem(harness, code, "k")).status_code == 201
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    (bucket,) = [one for one in shown["buckets"] if not one["main"]]
    assert (bucket["name"], bucket["amount"], bucket["scope"], bucket["priority"]) == ("1 MB", "1048576", ["data"], 50)
    assert bucket["valid_until"] is not None
    await proved(harness)


async def test_what_cannot_be_redeemed(harness: ApiHarness) -> None:
    await harness.account()
    await harness.account("usd", currency="USD")
    codes = await made(harness, expires="2035-01-01T00:00:00Z")
    assert (await harness.call("POST", "/v1/voucher-batches/b1/vouchers/2/block")).json()["state"] == "blocked"
    assert (await redeem(harness, codes[1], "k1")).json()["state"] == "blocked"
    assert (await harness.call("POST", "/v1/voucher-batches/b1/vouchers/2/unblock")).json()["state"] == "active"
    await state(harness, "blocked")
    assert (await redeem(harness, codes[1], "k2")).json()["state"] == "blocked"
    await state(harness, "active")
    assert (await redeem(harness, codes[1], "k3", "usd")).status_code == 409
    await harness.call("PUT", "/v1/accounts/usd", {"currency": "USD", "state": "closed"}, if_match="*")
    assert (await redeem(harness, codes[1], "k4", "usd")).json()["type"] == "urn:ocs:problem:account-closed"
    assert (await redeem(harness, codes[1], "k5")).status_code == 201
    assert (await harness.call("POST", "/v1/voucher-batches/b1/vouchers/2/block")).status_code == 409
    harness.ahead_ms = 10 * 366 * 86_400_000
    assert (await redeem(harness, codes[2], "k6")).json()["state"] == "expired"
    put = await harness.call("PUT", "/v1/voucher-batches/b1", TEN | {"count": 6})
    assert put.status_code == 409, "a batch is never changed"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"length": 6}, "length"),
        ({"count": 0}, "count"),
        ({"codes": "imported"}, "count"),
        ({"currency": None}, "currency"),
        ({"currency": "XXQ"}, "currency"),
        ({"expires": "2020-01-01T00:00:00Z"}, "expires"),
        ({"from_first_use": True}, "from_first_use"),
        ({"scope": ["beer"]}, "scope"),
    ],
    ids=[
        "too few bits",
        "no codes",
        "imported and made",
        "no currency",
        "no such currency",
        "over before it begins",
        "first use of what",
        "pays nothing",
    ],
)
async def test_a_batch_that_makes_no_sense(harness: ApiHarness, body: dict[str, Any], field: str) -> None:
    await harness.tariff()
    refused = await harness.call("PUT", "/v1/voucher-batches/b1", TEN | {"count": 5} | body)
    assert (refused.status_code, refused.json()["detail"].split(":")[0]) == (422, field)


async def test_fewer_bits_only_with_a_lock_out_and_nothing_without_a_key(harness: ApiHarness) -> None:
    short = TEN | {"count": 1, "codes": "digits", "length": 14}
    harness.backoffice.vouchers = VoucherDesk(VoucherKeys([bytes(32)]), VoucherRules(wrong_max=0), Meter())
    assert (await harness.call("PUT", "/v1/voucher-batches/b1", short)).status_code == 422
    harness.backoffice.vouchers = VoucherDesk(VoucherKeys([bytes(32)]), VoucherRules(), Meter())
    assert (await harness.call("PUT", "/v1/voucher-batches/b1", short)).status_code == 200
    harness.backoffice.vouchers = VoucherDesk(None, VoucherRules(), Meter())
    assert (await harness.call("PUT", "/v1/voucher-batches/b2", short)).status_code == 503


async def test_codes_made_elsewhere(harness: ApiHarness) -> None:
    await harness.account()
    await made(harness, "ours", 1)
    assert (
        await harness.call("PUT", "/v1/voucher-batches/old", TEN | {"count": 0, "codes": "imported"})
    ).status_code == 200
    for known in (0, 2):
        taken = await harness.call("POST", "/v1/voucher-batches/old/import", {"codes": ["1234 5678", "ABCDEF99"]})
        assert taken.json() == {"batch": "old", "made": 2, "known": known}
    await harness.call("PUT", "/v1/voucher-batches/other", TEN | {"count": 0, "codes": "imported"})
    refused = await harness.call("POST", "/v1/voucher-batches/other/import", {"codes": ["NEWONE1", "12345678"]})
    assert refused.status_code == 409
    assert (await harness.call("GET", "/v1/voucher-batches/other")).json()["made"] == 0, "all of them or none"
    await state(harness, "active", "old")
    assert (await harness.call("POST", "/v1/vouchers/find", {"code": "12345678"})).json()["serial"] == 1
    assert (await redeem(harness, "1234-5678", "k")).status_code == 201


async def test_who_guesses_is_locked_out_and_who_mistypes_is_not(harness: ApiHarness) -> None:
    for name in ("a1", "a2", "a3"):
        await harness.account(name)
    codes = await made(harness)
    (foreign,) = await made(harness, "b2", 1)
    await state(harness, "blocked", "b2")
    wrong = codes[0][:-1] + next(one for one in "34679" if one != codes[0][-1])
    for number in range(20):
        assert (await redeem(harness, wrong, f"m{number}")).json()["detail"].startswith("code: mistyped")
    for number in range(4):
        assert (await redeem(harness, foreign, f"w{number}", source="4917")).status_code == 409
    assert (await redeem(harness, codes[0], "right")).status_code == 201, "which forgives the account"
    # At the same time no more are looked at than one after the other would be.
    tries = [redeem(harness, foreign, f"p{number}", "a2") for number in range(12)]
    answers = Counter(answer.status_code for answer in await asyncio.gather(*tries))
    assert answers == {409: 5, 429: 7}
    locked_out = await redeem(harness, codes[1], "k1", "a2")
    assert (locked_out.status_code, locked_out.json()["type"]) == (429, "urn:ocs:problem:locked-out")
    assert locked_out.json()["detail"].startswith("too many wrong codes: ")
    assert 3_500 < int(locked_out.headers["retry-after"]) <= 3_600
    harness.ahead_ms = 3_601_000
    assert (await redeem(harness, codes[1], "k2", "a2")).status_code == 201
    for number, account in enumerate(("a1", "a2", "a3", "a1", "a3")):
        await redeem(harness, foreign, f"s{number}", account, source="10.0.0.9")
    assert (await redeem(harness, codes[2], "k3", "a3", source="10.0.0.9")).status_code == 429
    assert (await redeem(harness, codes[2], "k4", "a3", source="10.0.0.8")).status_code == 201
    await outbox.move(harness.pool)
    locked = [
        msgspec.json.decode(row["data"])
        for row in await harness.pool.fetch("SELECT data FROM events WHERE type = 'voucher.locked_out' ORDER BY seq")
    ]
    assert [(one["kind"], one["name"], one["wrong"]) for one in locked] == [
        ("account", "a2", 5),
        ("source", "10.0.0.9", 5),
    ]
    await voucher_tries.forget(harness.pool, harness.now_ms() + 1, harness.now_ms() + 10**8)
    assert await harness.pool.fetchval("SELECT count(*) FROM voucher_tries") == 0


async def test_many_redeem_one_voucher_and_one_gets_it(harness: ApiHarness) -> None:
    for number in range(8):
        await harness.account(f"a{number}")
    (code,) = await made(harness, count=1)
    tries = [redeem(harness, code, f"k{number}", f"a{number}") for number in range(8)]
    tries += [redeem(harness, code, "k0", "a0") for _ in range(3)]  # a repeat at the same time
    answers = await asyncio.gather(*tries)
    winners = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.text for answer in winners}) == 1
    assert sum([await balance(harness, f"a{number}") == "10.00" for number in range(8)]) == 1
    assert (await proved(harness))["EUR"] == {"voucher": -10_000_000}


async def test_killed_between_claim_and_credit(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the keeper, by the repeat, by both: one entry each."""
    await harness.account()
    codes = await made(harness)

    def killed(*_: object) -> Any:
        raise KeyboardInterrupt

    for number in range(3):
        with monkeypatch.context() as gone:
            gone.setattr(harness.store, "post", killed)
            with pytest.raises(KeyboardInterrupt):
                await redeem(harness, codes[number], f"k{number}")
    assert await balance(harness) == "0.00"
    log, later_ms = Log(), harness.now_ms() + UNFINISHED_MS + 1
    assert (await redeem(harness, codes[0], "k0")).status_code == 201
    assert await balance(harness) == "10.00"
    assert len(await unfinished(harness.pool, later_ms)) == 3, "what is not copied is not known"
    await asyncio.gather(*(finish(harness.pool, harness.store, log, lambda: later_ms, None) for _ in range(3)))
    assert await balance(harness) == "30.00"
    assert (await redeem(harness, codes[1], "k1")).status_code == 201
    await harness.sync()
    assert await unfinished(harness.pool, later_ms) == []
    await finish(harness.pool, harness.store, log, lambda: later_ms, None)
    assert (await redeem(harness, codes[2], "k2")).json()["posting"]["balance"] == "30.00"
    assert await balance(harness) == "30.00"
    assert log.said == []
    assert (await proved(harness))["EUR"] == {"voucher": -30_000_000}


async def test_a_long_round_credits_each_at_its_own_instant(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A period that is over while the round goes on may be closed (charging.md section 20)."""
    await harness.account("a1")
    await harness.account("a2")
    codes = await made(harness)
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.backoffice.vouchers._credited", killed)
        for number, account in enumerate(("a1", "a2")):
            assert (await redeem(harness, codes[number], f"k{number}", account)).status_code == 500
    clock = itertools.count(harness.now_ms() + UNFINISHED_MS + 1, 60_000)
    await finish(harness.pool, harness.store, Log(), lambda: next(clock), None)
    await harness.sync()
    query = "SELECT max(at_ms) - min(at_ms) FROM ledger_entries WHERE why = 'voucher'"
    assert await harness.pool.fetchval(query) == 60_000


async def test_a_batch_that_was_cut_off_goes_on(harness: ApiHarness) -> None:
    body = TEN | {"count": 2_500}
    await harness.call("PUT", "/v1/voucher-batches/b1", body)
    await harness.pool.execute("DELETE FROM vouchers WHERE serial > 1000")
    await harness.pool.execute("DELETE FROM voucher_codes WHERE first > 1000")
    await harness.pool.execute("UPDATE voucher_batches SET made = 1000")
    refused = await harness.call("PUT", "/v1/voucher-batches/b1/state", {"state": "active"})
    assert refused.status_code == 409
    assert (await harness.call("PUT", "/v1/voucher-batches/b1", body)).json()["made"] == 2_500
    lines = (await harness.call("POST", "/v1/voucher-batches/b1/export")).text.splitlines()
    assert len({msgspec.json.decode(line)["code"] for line in lines}) == 2_500


async def test_whatever_people_do_the_books_agree_with_a_model(harness: ApiHarness) -> None:
    """A random walk: redeem, repeat, block, unblock, die between claim and credit, keep, copy."""
    draw = random.Random(16)
    harness.backoffice.vouchers = VoucherDesk(VoucherKeys([bytes(32)]), VoucherRules(wrong_max=1000), Meter())
    accounts = ["a1", "a2"]
    for name in accounts:
        await harness.account(name)
    codes = await made(harness, count=12)
    owner: dict[int, str] = {}
    blocked: set[int] = set()
    batch_blocked, sent, log = False, list[tuple[str, str, str]](), Log()
    for step in range(120):
        place, account, what = draw.randrange(12), draw.choice(accounts), draw.random()
        if what < 0.45:
            key = f"k{step}"
            sent.append((codes[place], key, account))
            free = place not in owner and place not in blocked and not batch_blocked
            answer = await redeem(harness, codes[place], key, account)
            assert (answer.status_code == 201) == free, (step, answer.text)
            if free:
                owner[place] = account
        elif what < 0.55 and sent:
            again = draw.choice(sent)
            await redeem(harness, *again)  # what was refused may be redeemed now
            place = codes.index(again[0])
            if place not in owner and place not in blocked and not batch_blocked:
                owner[place] = again[2]
        elif what < 0.7:
            word = draw.choice(["block", "unblock"])
            done = await harness.call("POST", f"/v1/voucher-batches/b1/vouchers/{place + 1}/{word}")
            assert (done.status_code == 409) == (place in owner)
            if place not in owner:
                (blocked.add if word == "block" else blocked.discard)(place)
        elif what < 0.78:
            batch_blocked = not batch_blocked
            await state(harness, "blocked" if batch_blocked else "active")
        elif what < 0.9:
            await finish(harness.pool, harness.store, log, lambda: harness.now_ms() + UNFINISHED_MS + 1, None)
        else:
            await harness.sync()
    for name in accounts:
        expected = 10 * sum(who == name for who in owner.values())
        assert await balance(harness, name) == f"{expected}.00"
    batch = (await harness.call("GET", "/v1/voucher-batches/b1")).json()
    assert (batch["redeemed"], batch["blocked"]) == (len(owner), len(blocked - owner.keys()))
    assert log.said == []
    assert len(owner) > 5
    await proved(harness)


async def test_a_repeat_after_its_key_is_forgotten_credits_nothing(harness: ApiHarness) -> None:
    """The claim says for ever that the voucher was redeemed; the stores remember its key for 30 days."""
    await harness.account()
    [code] = await made(harness, count=1)
    first = await redeem(harness, code, "k1")
    await harness.sync()
    await harness.redis.delete(keys.once("a1", keys.voucher_key("b1", 1)))
    await harness.pool.execute("DELETE FROM once")
    assert await balance(harness) == "10.00"
    again = await redeem(harness, code, "k1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert await balance(harness) == "10.00"


SPRING: dict[str, Any] = {
    "currency": "EUR",
    "bands": [
        {
            "minimum": "10.00",
            "bonus": {"percent": "10", "days": 30, "name": "spring"},
            "units": [{"kind": "octets", "amount": "500", "days": 7, "name": "week"}],
            "extends": [{"bucket": "old", "days": 30}],
        }
    ],
}


async def offered(harness: ApiHarness, **more: Any) -> list[str]:
    await harness.account()
    assert (await harness.call("PUT", "/v1/top-up-offers/spring", SPRING)).status_code == 201
    return await made(harness, offer="spring", **more)


async def held_of(harness: ApiHarness) -> dict[str, str]:
    found = (await harness.call("GET", "/v1/accounts/a1")).json()
    return {one["name"]: one["amount"] for one in found["buckets"]}


async def test_a_voucher_with_an_offer_gives_what_the_offer_gives(harness: ApiHarness) -> None:
    """In one posting, once; as the offer stands when it is redeemed, not when the batch was made."""
    codes = await offered(harness)
    ends = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    await harness.top_up("1", kind="octets", name="old", valid_until=ends)
    twice = SPRING["bands"][0] | {"bonus": {"percent": "20", "days": 30, "name": "spring"}}
    changed = await harness.call("PUT", "/v1/top-up-offers/spring", SPRING | {"bands": [twice]}, if_match="*")
    assert changed.status_code == 200, changed.text
    done = await redeem(harness, codes[0], "k1")
    assert done.status_code == 201, done.text
    assert await held_of(harness) == {"main": "10.00", "spring": "2.00", "week": "500", "old": "1"}
    old = next(one for one in (await harness.call("GET", "/v1/accounts/a1")).json()["buckets"] if one["name"] == "old")
    assert old["valid_until"] > (datetime.now(UTC) + timedelta(days=29)).isoformat()
    assert (await redeem(harness, codes[0], "k1")).json() == done.json()
    await proved(harness)
    entries = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert [(one["why"], one["amount"], one["reason"]) for one in entries[1:]] == [
        *(("voucher", "10.00", "voucher b1 1, offer spring"), ("bonus", "2.00", "voucher b1 1, offer spring")),
        ("bonus", "500", "voucher b1 1, offer spring"),
    ]
    assert (await harness.call("GET", "/v1/voucher-batches/b1")).json()["offer"] == "spring"


async def test_who_completes_a_claim_gives_what_the_offer_gave_then(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between claim and credit; the offer is gone when the keeper comes."""
    codes = await offered(harness)
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.backoffice.vouchers._credited", killed)
        assert (await redeem(harness, codes[0], "k1")).status_code == 500
    assert (await harness.call("DELETE", "/v1/top-up-offers/spring", if_match="*")).status_code == 204
    await finish(harness.pool, harness.store, Log(), lambda: harness.now_ms() + UNFINISHED_MS + 1, None)
    assert await held_of(harness) == {"main": "10.00", "spring": "1.00", "week": "500"}
    assert (await redeem(harness, codes[0], "k1")).status_code == 201
    assert await held_of(harness) == {"main": "10.00", "spring": "1.00", "week": "500"}
    refused = await redeem(harness, codes[1], "k2")
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:ocs:problem:unresolved")
    assert (await harness.call("GET", "/v1/voucher-batches/b1/vouchers/2")).json()["state"] == "active"
    await proved(harness)


@pytest.mark.parametrize("full_of", ["money", "octets"])
async def test_what_the_offer_gives_has_to_fit_before_the_voucher_is_claimed(harness: ApiHarness, full_of: str) -> None:
    """A claim is never taken back: one that cannot be credited would be lost."""
    codes = await offered(harness)
    amount = {"money": "9007199244.24", "octets": str(2**53 - 500)}[full_of]  # of money 10.50 fit, the bonus is 1.00
    await harness.top_up(amount, kind=full_of, **({"name": "much"} if full_of == "octets" else {}))
    refused = await redeem(harness, codes[0], "k1")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:ocs:problem:no-room"), refused.text
    assert (await harness.call("GET", "/v1/voucher-batches/b1/vouchers/1")).json()["state"] == "active"
    await proved(harness)


async def test_an_account_that_was_closed_in_between_gets_what_the_offer_gives_too(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim is never taken back (charging.md section 18), so nothing of it may be refused."""
    codes = await offered(harness)
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.backoffice.vouchers._credited", killed)
        assert (await redeem(harness, codes[0], "k1")).status_code == 500
    shut = await harness.call("POST", "/v1/accounts/a1/closing", {"reason": "gone"}, idempotency_key="c")
    assert shut.status_code == 201, shut.text
    log = Log()
    await finish(harness.pool, harness.store, log, lambda: harness.now_ms() + UNFINISHED_MS + 1, None)
    assert log.said == []
    assert await held_of(harness) == {"main": "10.00", "spring": "1.00", "week": "500"}
    assert (await redeem(harness, codes[0], "k1")).status_code == 201
    await proved(harness)


async def test_a_build_that_knows_no_offers_claims_none_of_their_vouchers(harness: ApiHarness) -> None:
    """Beside this one while hosts are upgraded: it would give the amount alone, for ever."""
    codes = await offered(harness)
    await made(harness, "plain")
    claim = (
        "INSERT INTO voucher_claims (batch, serial, account, source, reference, claimed_ms, claimed_by, request,"
        " fingerprint, tags) VALUES ($1, 1, 'a1', '', '', 1, 'x', $1, '', '')"  # all that it writes
    )
    with pytest.raises(AWAY):
        await harness.pool.execute(claim, "b1")
    await harness.pool.execute(claim, "plain")
    assert (await redeem(harness, codes[0], "k1")).status_code == 201
    assert await held_of(harness) == {"main": "10.00", "spring": "1.00", "week": "500"}


async def test_a_batch_that_was_cut_off_goes_on_without_its_offer(harness: ApiHarness) -> None:
    """Its vouchers are refused when they are redeemed, until the offer is there again."""
    await offered(harness)
    await harness.pool.execute("DELETE FROM vouchers WHERE serial > 1")
    await harness.pool.execute("UPDATE voucher_batches SET made = 1")
    assert (await harness.call("DELETE", "/v1/top-up-offers/spring", if_match="*")).status_code == 204
    again = await harness.call("PUT", "/v1/voucher-batches/b1", TEN | {"count": 5, "offer": "spring"})
    assert (again.status_code, again.json().get("made")) == (200, 5), again.text


@pytest.mark.parametrize(
    "more",
    [
        {"offer": "none"},
        {"amount": "9.99"},
        {"currency": "USD"},
        {"scope": ["data"]},
        {"valid_for_s": 60},
        {"name": "x"},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_offers_that_a_batch_does_not_name(harness: ApiHarness, more: dict[str, Any]) -> None:
    await harness.tariff()
    assert (await harness.call("PUT", "/v1/top-up-offers/spring", SPRING)).status_code == 201
    body = TEN | {"count": 1, "offer": "spring"} | more
    put = await harness.call("PUT", "/v1/voucher-batches/b1", body)
    assert put.status_code == 422, put.text
