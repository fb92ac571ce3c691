"""Statements and balances of the past (charging.md section 20): sums of entries, to the micro-unit, that never change
once their period is closed."""

import csv
import io
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from ocs.api.texts import time_of
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, ccr, lines, mscc

MB = 2**20
HOUR = 3_600_000


async def statement(harness: ApiHarness, from_ms: int, until_ms: int, account: str = "a1") -> dict[str, Any]:
    period = f"from={time_of(from_ms)}&until={time_of(until_ms)}"
    answer = await harness.call("GET", f"/v1/accounts/{account}/statement?{period}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def lines_of(harness: ApiHarness, from_ms: int, until_ms: int) -> list[dict[str, str]]:
    period = f"from={time_of(from_ms)}&until={time_of(until_ms)}"
    answer = await harness.call("GET", f"/v1/accounts/a1/statement.csv?{period}")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/csv")
    return [*csv.DictReader(io.StringIO(answer.text))]


async def balance(harness: ApiHarness, **query: int) -> str:
    asked = "&".join(f"{name}={time_of(ms)}" for name, ms in query.items())
    answer = await harness.call("GET", f"/v1/accounts/a1/balance?{asked}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["balance"])


def total(of: dict[str, Any], kind: str, when: str) -> Decimal:
    return next((Decimal(one[when]) for one in of["totals"] if one["kind"] == kind), Decimal(0))


async def test_periods_add_up_to_the_micro_unit(harness: ApiHarness) -> None:
    """At random: money and units in and out, in four periods one after the other."""
    dice, begin = Random(7), harness.now_ms()
    await harness.account()
    ends = [begin]
    for _ in range(4):
        for _ in range(6):
            harness.ahead_ms += 1_000 + dice.randrange(HOUR // 8)
            if dice.random() < 0.6:
                await harness.top_up(f"{dice.randrange(1, 10**9) / 10**6:.6f}", bonus=dice.random() < 0.3)
            elif dice.random() < 0.5:
                await harness.top_up(str(dice.randrange(1, 10**6)), kind="octets")
            else:
                body = {"amount": f"-0.{dice.randrange(1, 999_999):06d}", "reason": "mistake"}
                await harness.call("POST", "/v1/accounts/a1/adjustments", body, idempotency_key=str(dice.random()))
        harness.ahead_ms += 1_000
        ends.append(harness.now_ms())
    harness.ahead_ms += 60_000
    await harness.sync()
    before = dict.fromkeys(("money", "octets"), Decimal(0))
    for since, until in pairwise(ends):
        found, entries = await statement(harness, since, until), await lines_of(harness, since, until)
        assert found["closed"]
        for kind, opening in before.items():
            moved = sum(Decimal(one["amount"]) for one in entries if one["kind"] == kind)
            told = sum(Decimal(one["amount"]) for one in found["entries"] if one["kind"] == kind)
            assert total(found, kind, "opening") == opening
            assert moved == told == total(found, kind, "closing") - opening
            before[kind] = total(found, kind, "closing")
        assert sum(one["entries"] for one in found["entries"]) == len(entries)
        assert Decimal(await balance(harness, known_at=until)) == before["money"]
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert Decimal(shown["balance"]) == before["money"]
    assert await balance(harness) == shown["balance"]


async def test_a_closed_period_stays_and_late_use_is_of_the_next(harness: ApiHarness) -> None:
    begin = harness.now_ms() - 1
    await harness.tariff()
    await harness.account()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await harness.top_up("20.00")
    await harness.charge(ccr(I, **lines(mscc(10, ask={"cc_total_octets": MB}))))
    used_ms = harness.now_ms()
    harness.ahead_ms += HOUR
    noon = harness.now_ms()
    open_yet = await statement(harness, begin, noon + HOUR)
    assert not open_yet["closed"]
    await harness.sync()
    harness.ahead_ms += HOUR
    first = await statement(harness, begin, noon)
    assert first["closed"]
    assert first["totals"] == [{"kind": "money", "opening": "0.00", "closing": "20.00"}]
    # Reported now, used before noon: posted now.
    used = lines(mscc(10, used={"cc_total_octets": MB}))
    await harness.charge(ccr(T, cc_request_number=1, event_timestamp=used_ms // 1_000, **used))
    not_copied = await statement(harness, begin, harness.now_ms() - 10_000)
    assert not not_copied["closed"]  # the live store has posted more than is here
    await harness.sync()
    assert await statement(harness, begin, noon) == first
    (line,) = await lines_of(harness, noon, harness.now_ms() + HOUR)
    assert (line["amount"], line["why"], line["happened"] < time_of(noon) < line["posted"]) == ("-0.01", "usage", True)
    # What is known now of noon, and what was known then.
    assert await balance(harness, as_of=noon) == "19.99"
    assert await balance(harness, as_of=noon, known_at=noon) == await balance(harness, known_at=noon) == "20.00"


async def test_a_customer_has_all_accounts_in_one_statement(harness: ApiHarness) -> None:
    begin = harness.now_ms() - 1
    for name, currency, amount in (("a1", "EUR", "1.50"), ("a2", "EUR", "2.25"), ("a3", "USD", "4.00")):
        await harness.account(name, currency=currency, customer="C 1")
        await harness.top_up(amount, name)
    await harness.account("a4")
    await harness.sync()
    harness.ahead_ms += HOUR
    period = f"from={time_of(begin)}&until={time_of(harness.now_ms() - 60_000)}"
    found = (await harness.call("GET", f"/v1/statement?customer=C%201&{period}")).json()
    assert [one["account"] for one in found["accounts"]] == ["a1", "a2", "a3"]
    assert [(one["currency"], one["totals"][0]["closing"]) for one in found["currencies"]] == [
        ("EUR", "3.75"),
        ("USD", "4.00"),
    ]
    assert found["closed"]
    nobody = await harness.call("GET", f"/v1/statement?customer=C2&{period}")
    assert nobody.status_code == 404
    backwards = await harness.call("GET", f"/v1/accounts/a1/statement?from={time_of(begin)}&until={time_of(begin)}")
    assert backwards.status_code == 422
