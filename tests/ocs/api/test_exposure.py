"""Money at stake, against amounts computed by hand."""

from typing import Any

import pytest

from ocs.backoffice import exposure
from ocs.backoffice.at_stake import LATELY_MS
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlRequest,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
)
from tests.ocs.api_harness import ApiHarness
from tests.ocs.net.world import ccr

MB = 1_048_576


def begins(whose: str, session: str, megabytes: int, peer: str = "gw.example.net") -> CreditControlRequest:
    """At 0.01 for each megabyte."""
    who = SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=whose)
    wish = RequestedServiceUnit(cc_total_octets=megabytes * MB)
    frame = ccr(
        0,
        session,
        origin_host=peer,
        cc_request_type=CcRequestType.INITIAL_REQUEST,
        subscription_id=(who,),
        multiple_services_credit_control=(MultipleServicesCreditControl(rating_group=10, requested_service_unit=wish),),
    )
    return CreditControlRequest.decode(frame)


async def seen(harness: ApiHarness) -> dict[str, Any]:
    found = await harness.call("GET", "/v1/exposure")
    assert found.status_code == 200, found.text
    answer: dict[str, Any] = found.json()
    return answer


async def test_nothing_is_at_stake(harness: ApiHarness) -> None:
    found = await seen(harness)
    assert found["total"] == {}
    assert found["held"] == []
    assert found["complete"]
    assert found["waiting"]["records"] == 0


async def test_what_is_held_owed_and_waiting(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.account("rich")
    await harness.account("poor", credit_limit="50.00")
    for name, number in (("rich", "491700000001"), ("poor", "491700000002")):
        await harness.subscriber(name, name, f"msisdn:{number}")
    await harness.call("POST", "/v1/accounts/rich/topups", {"amount": "10.00"}, idempotency_key="1")
    await harness.sync()
    await harness.charge(begins("491700000001", "a;1", 100))
    await harness.charge(begins("491700000001", "a;2", 50, "other.example.net"))
    await harness.charge(begins("491700000002", "a;3", 200))
    before = await seen(harness)
    assert before["waiting"]["records"] == 3
    assert before["waiting"]["debited"] == {}  # they hold, and debit nothing
    await harness.sync()
    found = await seen(harness)
    assert [(one["peer"], one["sessions"], float(one["money"])) for one in found["held"]] == [
        ("gw.example.net", 2, 3.0),
        ("other.example.net", 1, 0.5),
    ]
    (owed,) = found["owed"]
    assert (owed["currency"], owed["accounts"], float(owed["money"])) == ("EUR", 1, 2.0)
    assert {currency: float(money) for currency, money in found["held_on_credit"].items()} == {"EUR": 2.0}
    # 1.00 and 0.50 of the money that is there, 2.00 on credit: held and owed, and lost once.
    assert float(found["total"]["EUR"]) == 3.5
    assert found["waiting"]["records"] == 0


async def test_who_may_see_it(harness: ApiHarness) -> None:
    made = await harness.call("POST", "/v1/tokens", {"caller": "carl", "roles": ["cashier"]})
    token = made.json()["token"]
    refused = await harness.call("GET", "/v1/exposure", authorization=f"Bearer {token}")
    assert refused.status_code == 403


async def at_stake(harness: ApiHarness, **headers: str) -> Any:
    found = await harness.call("GET", "/v1/status", **headers)
    assert found.status_code == 200, found.text
    return found.json()["at_stake"]


async def test_the_status_shows_the_total(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute, and to those who may see it."""
    found = await at_stake(harness)
    assert (found["total"], found["complete"]) == ({}, True)
    await harness.tariff()
    await harness.account("rich")
    await harness.subscriber("rich", "rich", "msisdn:491700000001")
    await harness.call("POST", "/v1/accounts/rich/topups", {"amount": "10.00"}, idempotency_key="1")
    await harness.charge(begins("491700000001", "a;1", 100))
    await harness.charge(begins("491700000001", "a;2", 50))
    assert await at_stake(harness) == found
    harness.ahead_ms += LATELY_MS
    later = await at_stake(harness)
    assert ({currency: float(money) for currency, money in later["total"].items()}, later["complete"]) == (
        {"EUR": 1.5},
        True,
    )
    monkeypatch.setattr(exposure, "LATELY_SESSIONS_MAX", 1)
    harness.ahead_ms += LATELY_MS
    part = await at_stake(harness)
    assert not part["complete"]
    assert 0 < float(part["total"]["EUR"]) < 1.5
    for scopes, sees in ((["hosts.read"], False), (["hosts.read", "ledger.read"], True)):
        made = await harness.call("POST", "/v1/tokens", {"caller": "nora", "roles": ["noc"], "scopes": scopes})
        seen = await at_stake(harness, authorization=f"Bearer {made.json()['token']}")
        assert (seen is not None) == sees


async def test_a_status_that_cannot_know_the_total_is_there_all_the_same(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(exposure, "_held", away)
        assert await at_stake(harness) is None
    assert (await at_stake(harness))["total"] == {}
