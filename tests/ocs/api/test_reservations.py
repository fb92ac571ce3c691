"""Reservations: all or nothing, held from everybody, confirmed in parts up to the amount, released at the latest at
their instant (charging.md section 17)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from balances import keys
from balances.ledger.verify import verify
from balances.structs.posting import Expire
from ocs.backoffice import reservations
from tests.ocs.api_harness import ApiHarness


@pytest.fixture
async def shop(harness: ApiHarness) -> ApiHarness:
    """10.00 of own money."""
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    return harness


async def reserve(harness: ApiHarness, id_: str, amount: str, **more: Any) -> httpx.Response:
    body = {"id": id_, "amount": amount, "subscriber": "s1"} | more
    return await harness.call("POST", "/v1/reservations", body, idempotency_key=f"key-{id_}")


async def confirm(harness: ApiHarness, id_: str, number: int, amount: str, left: str = "0.00") -> httpx.Response:
    body = {"number": number, "amount": amount, "left": left}
    return await harness.call("POST", f"/v1/reservations/{id_}/confirm", body)


async def release(harness: ApiHarness, id_: str, number: int) -> httpx.Response:
    return await harness.call("POST", f"/v1/reservations/{id_}/release", {"number": number})


async def funds(harness: ApiHarness) -> tuple[str, str]:
    account = (await harness.call("GET", "/v1/accounts/a1")).json()
    return account["balance"], account["held"]


def kind(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:ocs:problem:")


async def sound(harness: ApiHarness) -> None:
    await harness.sync()
    report = await verify(harness.redis, harness.backoffice.pool)
    assert report.sound, report.lines()


async def test_parts_are_confirmed_and_the_rest_is_released(shop: ApiHarness) -> None:
    made = await reserve(shop, "o1", "6.00")
    assert (made.status_code, made.json()["reserved"]) == (201, "6.00"), made.text
    assert (await reserve(shop, "o1", "6.00")).json() == made.json()
    assert kind(await reserve(shop, "o2", "4.01")) == "insufficient-funds", "all of it, or nothing"
    assert await funds(shop) == ("10.00", "6.00")
    first = await confirm(shop, "o1", 1, "2.50", left="3.50")
    assert (first.json()["reserved"], first.json()["confirmed"]) == ("3.50", "2.50"), first.text
    assert first.json()["until"][:16] == made.json()["until"][:16]
    assert (await confirm(shop, "o1", 1, "2.50", left="3.50")).json() == first.json()
    assert kind(await confirm(shop, "o1", 1, "1.00")) == "conflict", "it is another confirmation"
    assert kind(await confirm(shop, "o1", 2, "3.51")) == "invalid"
    assert kind(await confirm(shop, "o1", 2, "3.00", left="0.51")) == "invalid"
    assert await funds(shop) == ("7.50", "3.50")
    ended = await release(shop, "o1", 2)
    assert (ended.json()["state"], ended.json()["confirmed"]) == ("ended", "2.50")
    assert (await release(shop, "o1", 2)).json() == ended.json()
    assert kind(await confirm(shop, "o1", 3, "1.00")) == "conflict"
    assert await funds(shop) == ("7.50", "0.00")
    await sound(shop)


async def test_parts_at_the_same_time_never_exceed_it(shop: ApiHarness) -> None:
    await reserve(shop, "o1", "5.00")
    numbers = (1, 2, 3, 1, 2, 1)
    found = await asyncio.gather(*(confirm(shop, "o1", number, "2.00", left="1.00") for number in numbers))
    assert {one.status_code for one in found} <= {200, 409, 422}
    assert {one.status_code for one, number in zip(found, numbers, strict=True) if number == 1} == {200}
    assert await funds(shop) == ("8.00", "1.00")
    assert kind(await confirm(shop, "o1", 3, "1.00")) == "conflict", "2 comes next"
    await sound(shop)


async def test_what_is_reserved_is_nobody_elses_and_lapses_at_its_instant(shop: ApiHarness) -> None:
    assert (await reserve(shop, "o1", "6.00", lasts_s=60)).status_code == 201
    out = {"reason": "x", "amount": "4.01"}
    assert kind(await shop.call("POST", "/v1/accounts/a1/payouts", out, idempotency_key="p")) == "insufficient-funds"
    await sound(shop)
    session = (await shop.call("GET", "/v1/reservations/o1")).json()["session"]
    for wait_ms, held in ((50_000, "6.00"), (20_000, "0.00")):
        shop.ahead_ms += wait_ms
        await shop.store.expire(Expire("a1", session, shop.now_ms())).wait()
        assert await funds(shop) == ("10.00", held)
    assert (await shop.call("GET", "/v1/reservations/o1")).json()["state"] == "expired"
    assert kind(await confirm(shop, "o1", 1, "1.00")) == "conflict"
    assert await funds(shop) == ("10.00", "0.00")
    await sound(shop)


async def test_what_is_released_while_it_is_confirmed_is_not_charged(
    shop: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its instant comes between the look at it and the call; what was confirmed before is answered all the same."""
    await reserve(shop, "o1", "6.00", lasts_s=60)
    assert (await confirm(shop, "o1", 1, "2.00", left="4.00")).status_code == 200
    find = reservations._find

    async def and_then(*given: Any) -> Any:
        found = await find(*given)
        shop.ahead_ms += 61_000
        await shop.store.expire(Expire("a1", found[1].id, shop.now_ms())).wait()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(reservations, "_find", and_then)
        refused = await confirm(shop, "o1", 2, "3.00")
    assert (kind(refused), refused.status_code) == ("conflict", 409)
    assert await funds(shop) == ("8.00", "0.00")
    assert (await confirm(shop, "o1", 1, "2.00", left="4.00")).json()["confirmed"] == "2.00"
    await sound(shop)


async def test_limits_count_it(shop: ApiHarness) -> None:
    made = await shop.call("PUT", "/v1/subscribers/s1/limits/daily", {"amount": "5.00", "period": "day"})
    assert made.status_code in (200, 201), made.text
    assert kind(await reserve(shop, "o1", "5.01")) == "insufficient-funds"
    assert (await reserve(shop, "o2", "5.00")).status_code == 201
    assert kind(await reserve(shop, "o3", "0.01")) == "insufficient-funds"
    assert (await confirm(shop, "o2", 1, "2.00")).status_code == 200
    assert (await reserve(shop, "o4", "3.00")).status_code == 201
    await sound(shop)


async def test_of_what_a_lost_store_held_nothing_is_confirmed(shop: ApiHarness) -> None:
    assert (await reserve(shop, "o1", "5.00")).status_code == 201
    await shop.sync()
    await shop.redis.delete(keys.account("a1"))
    assert kind(await confirm(shop, "o1", 1, "2.00", left="3.00")) == "conflict"
    assert await funds(shop) == ("10.00", "0.00")
    await sound(shop)


async def test_what_reserves_nothing(shop: ApiHarness) -> None:
    assert (await reserve(shop, "o1", "1.00", subscriber="nobody")).status_code == 422
    assert (await reserve(shop, "o2", "1.00", identity="msisdn:491700000001")).status_code == 422
    assert (await reserve(shop, "o3", "1.00", service="no such")).status_code == 422
    assert (await shop.call("GET", "/v1/reservations/o9")).status_code == 404
    refused = await confirm(shop, "o9", 1, "1.00")
    assert (refused.status_code, "there is no reservation o9" in refused.json()["detail"]) == (404, True)
    odd = await shop.call(
        "POST", "/v1/reservations", {"subscriber": "s1", "amount": "1.00", "colour": 1}, idempotency_key="k"
    )
    assert (odd.status_code, odd.json()["detail"]) == (422, "colour: there is no such field")
    bare = await shop.call("POST", "/v1/reservations", {"subscriber": "s1"}, idempotency_key="bare")
    assert (bare.status_code, bare.json()["detail"]) == (422, "amount: expected it to be given")
    assert await funds(shop) == ("10.00", "0.00")


@pytest.mark.parametrize("left", ["2.00", "0.00"], ids=["part", "all"])
@pytest.mark.parametrize("released_first", [True, False], ids=["release first", "release second"])
async def test_of_a_part_and_a_release_at_once_one_is_done(
    shop: ApiHarness, monkeypatch: pytest.MonkeyPatch, left: str, released_first: bool
) -> None:
    """Both have seen what is held before either is charged: whichever comes first is number 1."""
    await reserve(shop, "o1", "5.00")
    find, both, seen = reservations._find, asyncio.Event(), list[Any]()

    async def together(*asked: Any) -> Any:
        seen.append(await find(*asked))
        found = seen[-1]
        if len(seen) == 2:
            both.set()
        await both.wait()
        return found

    monkeypatch.setattr(reservations, "_find", together)
    calls = [release(shop, "o1", 1), confirm(shop, "o1", 1, "3.00", left=left)]
    found = await asyncio.gather(*(calls if released_first else calls[::-1]))
    assert sorted(one.status_code for one in found) == [200, 409], [one.text for one in found]
    [done] = [one.json() for one in found if one.status_code == 200]
    held = done["reserved"]
    assert await funds(shop) == (("10.00", "0.00") if done["confirmed"] == "0.00" else ("7.00", held))
    await sound(shop)


async def test_a_number_of_long_ago_ends_nothing(shop: ApiHarness) -> None:
    """The store remembers the number for longer than what it was answered."""
    await reserve(shop, "o1", "8.00")
    for number in range(1, 7):
        assert (await confirm(shop, "o1", number, "1.00", left=f"{8 - number}.00")).status_code == 200
    assert await funds(shop) == ("4.00", "2.00")
    for answer in (await release(shop, "o1", 1), await confirm(shop, "o1", 1, "2.00")):
        assert answer.status_code == 409 or answer.json()["reserved"] == "2.00", answer.text
    assert await funds(shop) == ("4.00", "2.00")
    ended = await confirm(shop, "o1", 7, "2.00")
    assert (ended.json()["state"], ended.json()["confirmed"]) == ("ended", "8.00")
    assert (await confirm(shop, "o1", 7, "2.00")).json() == ended.json()
    await sound(shop)
