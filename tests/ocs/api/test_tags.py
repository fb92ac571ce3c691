"""Charging tags: on every entry of a posting, whoever makes it, and what reports say by them (charging.md 17 and
20)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ocs.api.texts import time_of
from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import E, I, T, ccr, lines, mscc

MB = 2**20
WEB = {"channel": "web", "cashier": "7 ä"}


async def post(harness: ApiHarness, path: str, key: str, **body: Any) -> Any:
    answer = await harness.call("POST", f"/v1/{path}", body, idempotency_key=key)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def entries(harness: ApiHarness, account: str = "a1", **query: str) -> list[tuple[str, dict[str, str]]]:
    await harness.sync()
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    answer = await harness.call("GET", f"/v1/accounts/{account}/ledger?{asked}")
    assert answer.status_code == 200, answer.text
    return [(one["why"], one["tags"]) for one in answer.json()["items"]]


async def test_every_posting_takes_them(harness: ApiHarness) -> None:
    await harness.account("a1")
    await harness.account("b1")
    await post(harness, "accounts/a1/topups", "1", amount="20.00", tags=WEB)
    await post(harness, "accounts/a1/topups", "2", amount="1.00", name="gift", tags=WEB)
    await post(harness, "accounts/a1/adjustments", "3", amount="-1.00", reason="r", tags=WEB)
    await post(harness, "accounts/a1/transfers", "4", amount="1.00", to=1, reason="r", tags=WEB)
    await post(harness, "accounts/a1/payouts", "5", amount="1.00", reason="r", tags=WEB)
    await harness.sync()
    await post(harness, "accounts/a1/reversals", "6", entry=3, reason="r", tags=WEB)
    await post(harness, "accounts/a1/corrections", "7", amount="-0.10", reason="r", reference="usage 1-1/0", tags=WEB)
    whys = [why for why, tags in await entries(harness) if tags == WEB]
    assert whys == ["top-up", "top-up", "adjustment", "transfer", "transfer", "payout", "reversal", "rerate"]
    await post(harness, "accounts/a1/closing", "8", reason="r", remainder="write-off", tags=WEB)
    assert ("write-off", WEB) in await entries(harness)


async def test_money_given_back_has_them_and_an_event_refuses_them(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.account()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await harness.top_up("20.00")
    await harness.charge(ccr(I, **lines(mscc(10, ask={"cc_total_octets": MB}))))
    await harness.charge(ccr(T, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": MB}))))
    await harness.sync()
    body = {"amount": "0.01", "reason": "r", "tags": WEB}
    of_event = body | {"event": {"session": "s"}}
    answer = await harness.call("POST", "/v1/accounts/a1/refunds", of_event, idempotency_key="e")
    assert (answer.status_code, answer.json()["detail"].partition(":")[0]) == (422, "tags")
    await post(harness, "accounts/a1/refunds", "r", entry=2, **body)
    assert await entries(harness) == [("top-up", {}), ("usage", {}), ("refund", WEB)]


async def test_the_other_leg_of_a_transfer_has_them(harness: ApiHarness) -> None:
    await harness.account("a1")
    await harness.account("b1")
    await harness.top_up("10.00")
    body = {"from": "a1", "to": "b1", "amount": "4.00", "reason": "gift", "tags": WEB}
    sent = (await harness.call("POST", "/v1/transfers", body, idempotency_key="t")).json()
    await harness.sync()  # the second leg follows from the copied first one
    again = await harness.call("POST", "/v1/transfers", body, idempotency_key="t")
    assert again.status_code == 201, again.text
    assert await entries(harness) == [("top-up", {}), ("transfer", WEB)]
    assert await entries(harness, "b1") == [("transfer", WEB)]
    assert (await harness.call("GET", f"/v1/transfers/{sent['id']}")).json()["tags"] == WEB


async def test_reports_pick_and_sum_by_them(harness: ApiHarness) -> None:
    begin = harness.now_ms() - 1
    for account in ("a1", "b1"):
        await harness.call("PUT", f"/v1/accounts/{account}", {"currency": "EUR", "customer": "c1"})
    for number, (account, amount, tags) in enumerate(
        [("a1", "1.00", {"channel": "web"}), ("a1", "2.00", {"channel": "shop", "cashier": "7"}), ("a1", "4.00", {}),
         ("b1", "8.00", {"channel": "web"})]
    ):  # fmt: skip
        await post(harness, f"accounts/{account}/topups", str(number), amount=amount, tags=tags)
    assert await entries(harness, tag="channel:web") == [("top-up", {"channel": "web"})]
    assert await entries(harness, tag="cashier:8") == []
    period = f"from={time_of(begin)}&until={time_of(harness.now_ms() + 1_000)}"

    async def sums(path: str) -> list[tuple[str | None, int, str]]:
        found = (await harness.call("GET", f"/v1/{path}")).json()
        found = found["currencies"][0] if "currencies" in found else found
        assert sum(Decimal(one["amount"]) for one in found["entries"]) == Decimal(found["totals"][0]["closing"])
        return [(one["tag"], one["entries"], one["amount"]) for one in found["entries"]]

    by_channel = f"{period}&group_by=channel"
    assert await sums(f"accounts/a1/statement?{period}") == [(None, 3, "7.00")]
    one = await sums(f"accounts/a1/statement?{by_channel}")
    assert one == [("shop", 1, "2.00"), ("web", 1, "1.00"), (None, 1, "4.00")]
    together = await sums(f"statement?customer=c1&{by_channel}")
    assert together == [("shop", 1, "2.00"), ("web", 2, "9.00"), (None, 1, "4.00")]
    for path in ("accounts/a1/statement?", "statement?customer=c1&"):
        refused = await harness.call("GET", f"/v1/{path}{period}&group_by=colour")
        assert refused.status_code == 422, refused.text
        assert "channel, cashier" in refused.json()["detail"]
        assert "found colour" in refused.json()["detail"]
    harness.backoffice.tags = ("cashier",)  # what was posted under a key that is declared no more can be summed
    assert await sums(f"accounts/a1/statement?{by_channel}") == one
    shown = (await harness.call("GET", f"/v1/accounts/a1/statement.csv?{period}&tag=channel:shop")).text.splitlines()
    assert [line.rpartition(",")[2] for line in shown] == ["tags", "cashier=7;channel=shop"]


@pytest.mark.parametrize(
    "tags",
    [
        {"colour": "red"},
        {"channel": ""},
        {"channel": "x" * 65},
        {"channel": "a\nb"},
        {"Channel": "web"},
        {"channel": 7},
    ],
    ids=["undeclared", "empty", "long", "lines", "spelling", "number"],
)
async def test_what_is_no_tag_is_refused(harness: ApiHarness, tags: dict[str, Any]) -> None:
    await harness.account()
    body = {"amount": "1.00", "tags": tags}
    answer = await harness.call("POST", "/v1/accounts/a1/topups", body, idempotency_key="k")
    assert (answer.status_code, "tags" in answer.json()["detail"]) in {(400, True), (422, True)}, answer.text
    assert await entries(harness) == []


async def test_other_tags_under_the_same_key_are_another_request(harness: ApiHarness) -> None:
    await harness.account()
    await post(harness, "accounts/a1/topups", "k", amount="1.00", tags=WEB)
    await post(harness, "accounts/a1/topups", "k", amount="1.00", tags=WEB)
    body = {"amount": "1.00", "tags": {"channel": "shop"}}
    answer = await harness.call("POST", "/v1/accounts/a1/topups", body, idempotency_key="k")
    assert answer.status_code in {409, 422}
    assert await entries(harness) == [("top-up", WEB)]


TAXES = 'taxes = [{ name = "VAT", percent = 19, included = true }]'
TAGGED = """
tariff = "tagged"
currency = "EUR"
tags = { channel = "network", cashier = "7 ä;=%" }
taxes = [{ name = "VAT", percent = 19, included = true }]
[[rows]]
name = "video"
when = { rating_group = 10 }
flat = { price = "0.10", per = "1 MB" }
tags = { channel = "video" }
[[rows]]
name = "rest"
flat = { price = "0.01", per = "1 MB" }
[[fees]]
name = "rental"
price = "1.00"
every = "month"
tags = { channel = "rental" }
"""


@pytest.mark.parametrize(
    ("taxes", "said"),
    [
        (TAXES, [("-0.084034", "-0.015966"), ("-0.008403", "-0.001597")]),
        ("", [(None, None), (None, None)]),
    ],
    ids=["with tax", "without"],
)
async def test_a_tariff_says_them_of_use(harness: ApiHarness, taxes: str, said: list[tuple[str, str]]) -> None:
    await harness.tariff(TAGGED.replace(TAXES, taxes), "tagged")
    await harness.account()
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "tagged"}])
    await harness.top_up("20.00")
    await harness.charge(ccr(I, **lines(*(mscc(group, ask={"cc_total_octets": MB}) for group in (10, 11)))))
    used = lines(*(mscc(group, used={"cc_total_octets": MB}) for group in (10, 11)))
    await harness.charge(ccr(T, cc_request_number=1, **used))
    cashier = {"cashier": "7 ä;=%"}
    video, rest = cashier | {"channel": "video"}, cashier | {"channel": "network"}
    assert await entries(harness) == [("top-up", {}), ("usage", video), ("usage", rest)]
    assert await entries(harness, tag="channel:video") == [("usage", video)]
    shown = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert [(one["net"], one["tax"]) for one in shown[1:]] == said
    period = f"from={time_of(0)}&until={time_of(harness.now_ms() + 1_000)}&group_by=channel"
    found = (await harness.call("GET", f"/v1/accounts/a1/statement?{period}")).json()
    sums = {(one["tag"], one["amount"]) for one in found["entries"]}
    assert sums == {(None, "20.00"), ("video", "-0.10"), ("network", "-0.01")}


async def test_an_event_that_is_given_back_has_those_of_the_original(harness: ApiHarness) -> None:
    await harness.tariff(TAGGED, "tagged")
    await harness.account()
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "tagged"}])
    await harness.top_up("20.00")
    asked = lines(mscc(10, ask={"cc_total_octets": MB}))
    await harness.charge(ccr(E, session_id="ev;1", requested_action=RequestedAction.DIRECT_DEBITING, **asked))
    await harness.sync()
    await harness.tariff(TAGGED.replace('"video" }', '"films" }'), "tagged")  # what it says today does not matter
    body = {"amount": "0.10", "reason": "r", "event": {"session": "ev;1"}}
    back = await harness.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key="b")
    assert back.status_code == 201, back.text
    tags = {"cashier": "7 ä;=%", "channel": "video"}
    assert await entries(harness) == [("top-up", {}), ("usage", tags), ("refund", tags)]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('tags = { channel = "video" }', 'tags = { colour = "red" }', "found colour"),
        ('tags = { channel = "rental" }', 'tags = { colour = "red" }', "found colour"),
        ('cashier = "7 ä;=%"', 'colour = "red"', "found colour"),
        ('{ channel = "video" }', '{ Channel = "video" }', "not 'Channel'"),
        ('{ channel = "video" }', '{ channel = "" }', "rows[1].tags"),
        ('{ channel = "video" }', '{ channel = "a\\u0000b" }', "rows[1].tags"),
        ('{ channel = "video" }', "true", "rows[1].tags"),
        ('{ channel = "rental" }', '{ channel = "%s" }' % ("x" * 65), "fees[1].tags"),
    ],
    ids=["row", "fee", "tariff", "spelling", "empty", "nul", "true", "long"],
)
async def test_a_tariff_with_others_is_not_published(harness: ApiHarness, old: str, new: str, says: str) -> None:
    body = {"tariffs": [{"media_type": "application/toml", "document": TAGGED.replace(old, new)}]}
    answer = await harness.call("POST", "/v1/tariffs", body)
    assert answer.status_code == 422, answer.text
    assert says in answer.text


async def test_a_charging_request_and_a_subscriber_say_them(harness: ApiHarness) -> None:
    await harness.tariff(TAGGED, "tagged")
    await harness.account()
    await harness.top_up("20.00")
    who = {"tariffs": [{"tariff": "tagged"}], "tags": {"cashier": "9"}}
    await harness.subscriber("s1", "a1", "msisdn:491700000001", **who)
    await harness.newest()
    line = {"rating_group": 10, "requested": {"octets": MB}}
    event = {"service": "data", "subscriber": "s1", "lines": [line]}
    path = "/v1/charging/events"
    bought = await harness.call("POST", path, event | {"tags": {"channel": "app;1"}}, idempotency_key="e")
    assert (bought.status_code, bought.json()["cost"]) == (200, "0.10"), bought.text
    refused = await harness.call("POST", path, event | {"tags": {"colour": "red"}}, idempotency_key="f")
    assert refused.status_code == 422, refused.text
    assert "found colour" in refused.json()["detail"]
    order = {"amount": "1.00", "subscriber": "s1", "id": "o1"}
    made = await harness.call("POST", "/v1/reservations", order | {"tags": {"channel": "b"}}, idempotency_key="r")
    assert made.status_code == 201, made.text
    paid = await harness.call("POST", "/v1/reservations/o1/confirm", {"number": 1, "amount": "1.00"})
    assert paid.status_code == 200, paid.text
    app, order_tags = {"cashier": "9", "channel": "app;1"}, {"cashier": "9", "channel": "b"}
    assert await entries(harness) == [("top-up", {}), ("usage", app), ("usage", order_tags)]
    assert await entries(harness, tag="channel:app;1") == [("usage", app)]
    assert (await harness.call("GET", "/v1/subscribers/s1")).json()["tags"] == {"cashier": "9"}


async def test_usage_is_listed_by_them(harness: ApiHarness) -> None:
    await harness.tariff(TAGGED, "tagged")
    await harness.account()
    await harness.top_up("20.00")
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "tagged"}])
    await harness.newest()
    for number, channel in enumerate(("app", "web", "app")):
        line = {"rating_group": 10, "requested": {"octets": (number + 1) * MB}}
        event = {"service": "data", "subscriber": "s1", "lines": [line], "tags": {"channel": channel}}
        answer = await harness.call("POST", "/v1/charging/events", event, idempotency_key=f"e{number}")
        assert answer.status_code == 200, answer.text
    await harness.sync()

    async def used(query: str) -> list[int]:
        found = (await harness.call("GET", f"/v1/accounts/a1/usage?{query}")).json()
        return [one["used"] // MB for one in found["items"]]

    assert await used("") == [1, 2, 3]
    assert await used("tag=channel:app") == [1, 3]
    assert await used("tag=channel:ap") == await used("tag=cashier:web") == await used("service=sms") == []
    assert await used("tag=cashier:7 ä;=%25") == [1, 2, 3]
    assert await used("subscriber=s2") == await used(f"until={time_of(0)}".replace("1970", "1980")) == []
    page = (await harness.call("GET", "/v1/accounts/a1/usage?limit=2")).json()
    assert await used(f"after={page['next_after']}") == [3]
    first = page["items"][0]
    assert first["tags"] == {"cashier": "7 ä;=%", "channel": "app"}
    assert (first["cost"], first["unit"], first["phase"], first["result"]) == ("0.10", "octets", "event", "ok")
    csv = (await harness.call("GET", "/v1/accounts/a1/usage.csv?tag=channel:web")).text.splitlines()
    assert csv[0].split(",")[:3] == ["usage", "time", "subscriber"]
    assert [line.rpartition(",")[2] for line in csv[1:]] == ["cashier=7 ä;=%;channel=web"]
    assert (await harness.call("GET", "/v1/accounts/a1/usage?after=x")).status_code == 422
    assert (await harness.call("GET", "/v1/accounts/none/usage")).status_code == 404
    kept = await harness.pool.fetchval("SELECT count(*) FROM ladders")
    assert kept == 1, "one price, whatever is said of its use"
    shown = (await harness.call("GET", "/v1/explain/accounts/a1/entries/2")).json()
    assert shown["same_ladder"] is True
    assert shown["piece"]["tags"] == first["tags"]
    assert "tagged cashier = 7 ä;=%, channel = app" in shown["piece"]["ladder"]


async def test_money_given_back_has_those_of_what_it_gives_back(harness: ApiHarness) -> None:
    await harness.tariff(TAGGED, "tagged")
    await harness.account()
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "tagged"}])
    await harness.top_up("20.00")
    both = lines(*(mscc(group, ask={"cc_total_octets": MB}) for group in (10, 11)))
    await harness.charge(ccr(I, session_id="two;1", **both))
    used = lines(*(mscc(group, used={"cc_total_octets": MB}) for group in (10, 11)))
    await harness.charge(ccr(T, session_id="two;1", cc_request_number=1, **used))
    await harness.sync()
    cashier = {"cashier": "7 ä;=%"}
    wanted: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"entry": 2}, cashier | {"channel": "video"}),
        ({"entry": 2, "tags": {"cashier": "1"}}, {"cashier": "1", "channel": "video"}),
        ({"session": "two;1"}, cashier),
    ]
    for number, (body, tags) in enumerate(wanted):
        asked = {"amount": "0.01", "reason": "r"} | body
        given = await harness.call("POST", "/v1/accounts/a1/refunds", asked, idempotency_key=f"b{number}")
        assert given.status_code == 201, given.text
        again = await harness.call("POST", "/v1/accounts/a1/refunds", asked, idempotency_key=f"b{number}")
        assert again.json() == given.json()
        assert (await entries(harness))[-1] == ("refund", tags)
    assert len(await entries(harness)) == 6


async def test_what_is_undeclared_is_named_by_its_row(harness: ApiHarness) -> None:
    for old, where in (('{ channel = "video" }', "row video: tags"), ('{ channel = "rental" }', "fee rental: tags")):
        document = TAGGED.replace(old, '{ colour = "red" }')
        body = {"tariffs": [{"media_type": "application/toml", "document": document}]}
        answer = await harness.call("POST", "/v1/tariffs", body)
        assert answer.status_code == 422
        assert where in answer.text


async def test_a_subscriber_with_others_is_refused(harness: ApiHarness) -> None:
    await harness.account()
    body = {"account": "a1", "identities": [], "tariffs": [], "tags": {"colour": "red"}}
    answer = await harness.call("PUT", "/v1/subscribers/s1", body)
    assert answer.status_code == 422
    assert "found colour" in answer.json()["detail"]
