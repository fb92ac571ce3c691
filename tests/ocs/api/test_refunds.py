"""Refunds never exceed what was paid; what has no original is an adjustment (charging.md section 9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from balances import keys
from balances.ledger import refunds
from balances.ledger.verify import verify
from ocs.access.roles import AmountLimit, CallerRole
from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.api.test_access import configured, person
from tests.ocs.api_harness import FLAT, ApiHarness
from tests.ocs.charging.wire import E, I, T, U, ccr, lines, mscc

MB = 2**20
SESSION = "gw;1;1"


@pytest.fixture
async def charged(harness: ApiHarness) -> ApiHarness:
    """Entry 2: 3 MB at 0.01."""
    await harness.account()
    await harness.top_up("1.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await call(harness, SESSION, 3)
    return harness


async def call(harness: ApiHarness, session: str, used_mb: int) -> None:
    await harness.charge(ccr(I, session_id=session, **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))))
    await harness.charge(
        ccr(T, session_id=session, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": used_mb * MB})))
    )
    await harness.sync()


async def refund(harness: ApiHarness, key: str, amount: str, account: str = "a1", **of: Any) -> Any:
    body = {"amount": amount, "reason": "call dropped"} | of
    return await harness.call("POST", f"/v1/accounts/{account}/refunds", body, idempotency_key=key)


async def balance(harness: ApiHarness) -> str:
    return str((await harness.call("GET", "/v1/accounts/a1")).json()["balance"])


async def test_without_an_original_there_is_no_refund(harness: ApiHarness) -> None:
    await harness.account()
    assert (await refund(harness, "k1", "1000000.00")).status_code == 422
    assert (await refund(harness, "k2", "1000000.00", entry=1)).status_code == 422
    assert (await refund(harness, "k3", "1.00", session="x")).status_code == 422
    assert (await refund(harness, "k4", "1.00", event={"session": "x"})).status_code == 422
    assert (await refund(harness, "k5", "1.00", session="x", entry=1)).status_code == 422
    assert await balance(harness) == "0.00"


@pytest.mark.parametrize("of", [{"entry": 2}, {"session": SESSION}], ids=["entry", "session"])
async def test_parts_add_up_to_what_was_paid(charged: ApiHarness, of: dict[str, Any]) -> None:
    assert (await refund(charged, "k1", "0.031", **of)).status_code == 422
    done = await refund(charged, "k1", "0.02", **of)
    assert done.status_code == 201, done.text
    assert (await refund(charged, "k1", "0.02", **of)).json() == done.json()
    assert (await refund(charged, "k1", "0.01", **of)).status_code == 409
    assert (await refund(charged, "k2", "0.02", **of)).status_code == 422
    assert (await refund(charged, "k3", "0.01", **of)).status_code == 201
    assert (await refund(charged, "k4", "0.000001", **of)).status_code == 422
    assert await balance(charged) == "1.00"
    await charged.sync()
    assert (await verify(charged.redis, charged.backoffice.pool)).sound


async def test_a_repeat_after_its_key_is_forgotten_gives_nothing(charged: ApiHarness) -> None:
    """What was granted once is posted once, though the stores remember a key for 30 days only."""
    assert (await refund(charged, "k1", "0.03", entry=2)).status_code == 201
    await charged.sync()
    await charged.redis.delete(keys.once("a1", keys.request_key("admin", "k1")))
    await charged.pool.execute("DELETE FROM once")
    assert (await refund(charged, "k1", "0.03", entry=2)).json()["type"] == "urn:ocs:problem:key-reused"
    assert await balance(charged) == "1.00"


async def test_an_entry_and_its_session_share_what_is_left(charged: ApiHarness) -> None:
    assert (await refund(charged, "k1", "0.02", session=SESSION)).status_code == 201
    assert (await refund(charged, "k2", "0.02", entry=2)).status_code == 422
    assert (await refund(charged, "k3", "0.01", entry=2)).status_code == 201
    assert (await refund(charged, "k4", "0.01", session=SESSION)).status_code == 422


async def test_side_by_side_they_never_exceed_it(charged: ApiHarness) -> None:
    asked = [refund(charged, f"k{n}", "0.02", entry=2) for n in range(4)]
    asked += [refund(charged, f"s{n}", "0.02", session=SESSION) for n in range(4)]
    codes = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert codes == [201] + [422] * 7
    assert await balance(charged) == "0.99"


async def test_who_may_not_give_so_much_back_keeps_it_from_nobody(charged: ApiHarness) -> None:
    limits = (AmountLimit("accounts.refund", each="0.02", day="0.02"),)
    configured(charged, roles={"desk": CallerRole(("accounts.refund",), limits=limits)})
    anna = await person(charged, "anna", "desk")

    async def asked(key: str, amount: str) -> int:
        body = {"amount": amount, "reason": "call dropped", "session": SESSION}
        return int((await anna.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=key)).status_code)

    assert [await asked("a", "0.03"), await asked("b", "0.01"), await asked("c", "0.015")] == [403, 201, 403]
    assert (await refund(charged, "k", "0.02", session=SESSION)).status_code == 201
    assert await balance(charged) == "1.00"


async def test_a_day_that_others_use_up_meanwhile_keeps_it_from_nobody(
    charged: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is granted is within the day already, so the posting is not forbidden any more."""
    limits = (AmountLimit("accounts.refund", day="0.02"),)
    configured(charged, roles={"desk": CallerRole(("accounts.refund",), limits=limits)})
    anna = await person(charged, "anna", "desk")
    await call(charged, "gw;1;2", 3)

    async def asked(key: str, session: str) -> int:
        body = {"amount": "0.02", "reason": "call dropped", "session": session}
        return int((await anna.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=key)).status_code)

    granting, meanwhile = refunds.grant, list[int]()

    async def granted(*args: Any, **named: Any) -> Any:
        if not meanwhile:
            meanwhile.append(0)
            meanwhile[0] = await asked("b", "gw;1;2")
        return await granting(*args, **named)

    monkeypatch.setattr(refunds, "grant", granted)
    assert await asked("a", SESSION) == 201
    assert meanwhile == [403]
    assert await asked("c", SESSION) == 403
    assert (await refund(charged, "k1", "0.03", session="gw;1;2")).status_code == 201
    assert (await refund(charged, "k2", "0.01", session=SESSION)).status_code == 201
    assert await balance(charged) == "1.00"


async def test_what_is_refused_counts_for_no_day(charged: ApiHarness) -> None:
    limits = (AmountLimit("accounts.refund", day="0.03"),)
    configured(charged, roles={"desk": CallerRole(("accounts.refund",), limits=limits)})
    anna = await person(charged, "anna", "desk")
    for number, (session, status) in enumerate([("none", 422), (SESSION, 201), (SESSION, 403)]):
        body = {"amount": "0.02", "reason": "call dropped", "session": session}
        done = await anna.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=f"k{number}")
        assert done.status_code == status, done.text


async def test_a_top_up_or_a_refund_is_not_given_back(charged: ApiHarness) -> None:
    assert (await refund(charged, "k1", "0.01", entry=1)).status_code == 422
    assert (await refund(charged, "k2", "0.01", entry=2)).status_code == 201
    assert (await refund(charged, "k3", "0.01", entry=3)).status_code == 422


async def test_an_event_adds_up_with_what_the_network_gives_back(charged: ApiHarness) -> None:
    sms = {"session_id": "sms;1", **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))}
    await charged.charge(ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **sms))
    await charged.sync()
    assert await balance(charged) == "0.92"
    event = {"session": "sms;1"}
    assert (await refund(charged, "k1", "0.06", event=event)).status_code == 422
    assert (await refund(charged, "k2", "0.03", event=event)).status_code == 201
    await charged.sync()
    assert (await refund(charged, "k2", "0.03", event=event)).status_code == 201
    assert (await refund(charged, "k3", "0.03", event=event)).status_code == 422
    assert (await refund(charged, "k4", "0.02", event=event)).status_code == 201
    assert await balance(charged) == "0.97"
    entries = (await charged.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    spent = next(entry["seq"] for entry in entries if entry["amount"] == "-0.05")
    assert (await refund(charged, "k5", "0.01", entry=spent)).status_code == 422


@pytest.mark.parametrize("forgotten", [False, True], ids=["known", "forgotten by the live store"])
async def test_an_event_whose_refund_was_reversed_is_given_back_again_once(
    charged: ApiHarness, *, forgotten: bool
) -> None:
    """0.05 were paid: 0.03 given back, taken back twice, and 0.05 given back. The second refund stays."""
    sms = {"session_id": "sms;1", **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))}
    await charged.charge(ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **sms))
    await charged.sync()
    event = {"session": "sms;1"}
    assert (await refund(charged, "k1", "0.03", event=event)).status_code == 201
    assert (await refund(charged, "k2", "0.02", event=event)).status_code == 201
    await charged.sync()
    entries = (await charged.call("GET", "/v1/accounts/a1/ledger?why=refund")).json()["items"]
    seq = next(one["seq"] for one in entries if one["amount"] == "0.03")
    if forgotten:
        await charged.redis.delete(*[key async for key in charged.redis.scan_iter("*once*")])
    back = {"entry": seq, "reason": "mistake"}
    codes = []
    for key in ("v1", "v1", "v2"):
        codes.append((await charged.call("POST", "/v1/accounts/a1/reversals", back, idempotency_key=key)).status_code)
        await charged.sync()
    assert codes == [201, 201, 409]
    assert await balance(charged) == "0.94"
    if forgotten:
        await charged.redis.delete(*[key async for key in charged.redis.scan_iter("*once*")])
    assert (await refund(charged, "k3", "0.04", event=event)).status_code == 422
    assert (await refund(charged, "k4", "0.03", event=event)).status_code == 201
    assert (await refund(charged, "k5", "0.000001", event=event)).status_code == 422
    assert await balance(charged) == "0.97"
    await charged.sync()
    assert (await verify(charged.redis, charged.backoffice.pool)).sound


async def test_who_gave_an_event_back_and_why_stands_in_the_ledger(charged: ApiHarness) -> None:
    sms = {"session_id": "sms;1", **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))}
    await charged.charge(ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **sms))
    await charged.sync()
    said: dict[str, Any] = {"event": {"session": "sms;1"}, "reference": "ticket 7"}
    assert (await refund(charged, "k1", "0.03", **said)).status_code == 201
    # Before PostgreSQL has it, too, another body is not answered as if it had been done.
    again = await refund(charged, "k1", "0.02", **said)
    assert (again.status_code, again.json()["type"]) == (409, "urn:ocs:problem:key-reused")
    assert (await refund(charged, "k1", "0.03", **said)).status_code == 201
    assert await balance(charged) == "0.95"
    await charged.sync()
    (entry,) = (await charged.call("GET", "/v1/accounts/a1/ledger?why=refund")).json()["items"]
    assert (entry["actor"], entry["reason"], entry["reference"]) == ("admin", "call dropped", "ticket 7")


# --- adjustments


async def adjust(harness: ApiHarness, key: str, amount: str, **more: Any) -> int:
    body = {"amount": amount, "reason": "goodwill"} | more
    return int((await harness.call("POST", "/v1/accounts/a1/adjustments", body, idempotency_key=key)).status_code)


async def test_an_adjustment_leaves_what_is_held(charged: ApiHarness) -> None:
    await charged.charge(ccr(I, session_id="gw;2;2", **lines(mscc(10, ask={"cc_total_octets": 50 * MB}))))
    account = (await charged.call("GET", "/v1/accounts/a1")).json()
    assert (account["balance"], account["held"], account["available"]) == ("0.97", "0.50", "0.47")
    assert await adjust(charged, "k1", "-0.48") == 409
    assert await adjust(charged, "k2", "-0.47") == 201
    assert await adjust(charged, "k3", "-0.10") == 409
    assert await adjust(charged, "k4", "-0.10", force=True) == 201
    account = (await charged.call("GET", "/v1/accounts/a1")).json()
    assert (account["balance"], account["available"]) == ("0.40", "-0.10")


async def test_a_credit_limit_covers_an_adjustment(harness: ApiHarness) -> None:
    await harness.account(credit_limit="5.00")
    assert await adjust(harness, "k1", "-5.01") == 409
    assert await adjust(harness, "k2", "-5.00") == 201


TAXED = FLAT + '\n[[taxes]]\nname = "VAT"\npercent = 19\nincluded = true\n'


async def taxes(harness: ApiHarness, why: str) -> list[tuple[str, str, str]]:
    """Amount, net and tax of the entries that were made for a reason."""
    await harness.sync()
    found = (await harness.call("GET", f"/v1/accounts/a1/ledger?why={why}")).json()["items"]
    return [(one["amount"], one["net"], one["tax"]) for one in found]


async def bought(harness: ApiHarness, tariff: str, *used_mb: int) -> None:
    """A session for each, charged by this tariff."""
    await harness.account()
    await harness.top_up("100.00")
    await harness.tariff(tariff)
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    for number, used in enumerate(used_mb, start=1):
        await call(harness, f"gw;1;{number}", used)


async def test_a_refund_gives_back_the_tax_too(harness: ApiHarness) -> None:
    """0.03 with 19 % contain 0.00479; its parts share that, and its reversal takes it again."""
    await bought(harness, TAXED, 3)
    assert await taxes(harness, "usage") == [("-0.03", "-0.02521", "-0.00479")]
    for key, amount in (("k1", "0.01"), ("k2", "0.01"), ("k3", "0.01")):
        assert (await refund(harness, key, amount, session=SESSION)).status_code == 201
    given = await taxes(harness, "refund")
    assert given == [
        ("0.01", "0.008403", "0.001597"),
        ("0.01", "0.008403", "0.001597"),
        ("0.01", "0.008404", "0.001596"),
    ]
    back = {"entry": 5, "reason": "mistake"}
    assert (await harness.call("POST", "/v1/accounts/a1/reversals", back, idempotency_key="r")).status_code == 201
    assert await taxes(harness, "reversal") == [("-0.01", "-0.008404", "-0.001596")]
    assert (await refund(harness, "k4", "0.01", entry=2)).status_code == 201
    assert (await taxes(harness, "refund"))[-1] == ("0.01", "0.008404", "0.001596")


async def test_a_rounded_tax_is_whole_cents_of_the_session(harness: ApiHarness) -> None:
    """0.12 contain 0.01916, and 0.06 of each of two reports 0.00958: one cent, then the second."""
    await bought(harness, TAXED + 'round_to = "0.01"\n')
    await harness.charge(ccr(I, session_id=SESSION, **lines(mscc(10, ask={"cc_total_octets": 6 * MB}))))
    for number, kind in ((1, U), (2, T)):
        reported = mscc(
            10, used={"cc_total_octets": 6 * MB}, **({"ask": {"cc_total_octets": 6 * MB}} if kind == U else {})
        )
        await harness.charge(ccr(kind, session_id=SESSION, cc_request_number=number, **lines(reported)))
    assert await taxes(harness, "usage") == [("-0.06", "-0.05", "-0.01"), ("-0.06", "-0.05", "-0.01")]
    assert (await refund(harness, "k1", "0.12", session=SESSION)).status_code == 201
    assert await taxes(harness, "refund") == [("0.12", "0.10", "0.02")]
    month = await harness.call("GET", "/v1/accounts/a1/statement?from=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z")
    by_why = {one["why"]: one["tax"] for one in month.json()["entries"] if one["tax"] is not None}
    assert by_why == {"usage": "-0.02", "refund": "0.02"}


@pytest.mark.parametrize(
    ("rounding", "why"),
    [
        ('round_to = "0"', "above 0"),
        ('round_to = "0.0000001"', "whole micro-units"),
        ('round_to = "0.01"\nrounding = "nearest"', "rounding"),
    ],
)
async def test_a_tax_that_cannot_be_rounded_so_is_refused(harness: ApiHarness, rounding: str, why: str) -> None:
    made = await harness.call("PUT", "/v1/tariffs/flat", TAXED + rounding, content_type="application/toml")
    assert made.status_code == 422
    assert why in made.text
