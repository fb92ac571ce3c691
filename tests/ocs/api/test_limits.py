"""Spending limits through the API, and charged by (charging.md section 15)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.ledger.event_filter import EventFilter
from balances.ledger.verify import verify
from balances.structs.charge import Result
from ocs.backoffice import accounts
from ocs.charging.profile import Profile
from ocs.events import log
from ocs.master.projection import Projector, teller
from protocol.diameter.dictionary.credit_control import CcMoney, RequestedAction, SubscriptionId, UnitValue
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import E, I, T, U, ccr, lines, mscc

MB = 2**20
MONTH = {"amount": "0.05", "period": "month"}


@pytest.fixture
async def family(harness: ApiHarness) -> ApiHarness:
    """Two members of one account; a megabyte costs 0.01."""
    await harness.account(time_zone="Europe/Berlin")
    await harness.top_up("10.00")
    await harness.tariff()
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    await harness.subscriber("mum", "a1", "msisdn:491700000002")
    return harness


async def limit(harness: ApiHarness, name: str = "monthly", of: str = "subscribers/kid", **body: Any) -> Any:
    return await harness.call("PUT", f"/v1/{of}/limits/{name}", MONTH | body)


async def listed(harness: ApiHarness, of: str = "subscribers/kid") -> list[dict[str, Any]]:
    found = await harness.call("GET", f"/v1/{of}/limits")
    assert found.status_code == 200, found.text
    return list(found.json()["items"])


async def ask(
    harness: ApiHarness,
    kind: Any,
    megabytes: int,
    used: int = 0,
    *,
    who: int = 1,
    session: str = "gw;1",
    number: int = 0,
) -> Any:
    named = SubscriptionId(subscription_id_type=0, subscription_id_data=f"49170000000{who}")
    said = mscc(
        10,
        ask={"cc_total_octets": megabytes * MB} if megabytes else None,
        used={"cc_total_octets": used * MB} if used else (),
    )
    fields: dict[str, Any] = {"session_id": session, "cc_request_number": number, "subscription_id": (named,)}
    answer = await harness.charge(ccr(kind, **fields, **lines(said)))
    return answer.result if not answer.lines else (answer.lines[0].result, answer.lines[0].granted)


async def granted(harness: ApiHarness, kind: Any, megabytes: int, used: int = 0, **others: Any) -> int:
    result, units = await ask(harness, kind, megabytes, used, **others)
    return (units.octets or 0) // MB if result == Result.OK and units is not None else 0


async def test_a_child_spends_so_much_a_month_and_no_more(family: ApiHarness) -> None:
    made = await limit(family)
    assert (made.status_code, made.json()["left"]) == (201, "0.05")
    assert await granted(family, I, 3) == 3
    (shown,) = await listed(family)
    assert (shown["used"], shown["held"], shown["left"]) == ("0.00", "0.03", "0.02")
    assert shown["since"].endswith(("-01T00:00:00.000+01:00", "-01T00:00:00.000+02:00")) or shown["since"]
    assert await granted(family, U, 3, 3, number=1) == 2
    assert (await ask(family, U, 3, 2, number=2))[0] == Result.CREDIT_LIMIT
    (shown,) = await listed(family)
    assert (shown["used"], shown["held"], shown["left"]) == ("0.05", "0.00", "0.00")
    assert await granted(family, I, 100, who=2, session="gw;2") == 100, "nobody else is limited"
    await family.sync()
    assert (await verify(family.redis, family.backoffice.pool)).sound


async def test_a_limit_that_is_set_asks_running_sessions_to_report_and_counts_from_then_on(family: ApiHarness) -> None:
    assert await granted(family, I, 3) == 3
    await limit(family)
    await family.sync()
    newest = await family.pool.fetchval("SELECT max(position) FROM calls WHERE kind = 'settings'")
    assert newest is not None
    assert await granted(family, U, 9, 3, number=1) == 5, "what was granted before does not count"


async def test_who_is_asked_to_report(family: ApiHarness) -> None:
    told: list[tuple[str, list[str]]] = []
    tell = teller(family.store, family.now_ms)

    async def noted(account: str, change: int, limited: list[str]) -> object:
        told.append((account, limited))
        return await tell(account, change, limited)

    family.backoffice.projector = Projector(family.pool, family.redis, noted)
    await limit(family)
    await limit(family, of="accounts/a1", name="all")
    await family.call("DELETE", "/v1/subscribers/kid/limits/monthly")
    barred = {"account": "a1", "identities": [], "tariffs": [], "barred": True}
    await family.call("PUT", "/v1/subscribers/kid", barred, if_match="*")
    assert told == [("a1", ["kid"]), ("a1", ["kid", "mum"]), ("a1", ["kid"]), ("a1", [])]


async def test_all_of_an_account_share_one(family: ApiHarness) -> None:
    await limit(family, of="accounts/a1", name="data", services=["data"])
    assert await granted(family, I, 3) == 3
    assert await granted(family, I, 3, who=2, session="gw;2") == 2
    for of in ("accounts/a1", "subscribers/kid", "subscribers/mum"):
        (shown,) = await listed(family, of)
        assert (shown["shared"], shown["held"], shown["left"]) == (True, "0.05", "0.00")


async def test_a_limit_is_lowered_raised_and_taken_away(family: ApiHarness) -> None:
    await limit(family)
    assert await granted(family, I, 2) == 2
    assert (await limit(family, amount="0.01")).status_code == 200
    assert (await ask(family, U, 1, 2, number=1))[0] == Result.CREDIT_LIMIT
    assert (await limit(family, amount="0.03")).json()["left"] == "0.01"
    assert await granted(family, U, 9, number=2) == 1
    assert (await family.call("DELETE", "/v1/subscribers/kid/limits/monthly")).status_code == 204
    assert (await family.call("DELETE", "/v1/subscribers/kid/limits/monthly")).status_code == 404
    assert await granted(family, U, 9, 1, number=3) == 9
    assert await listed(family) == []


async def test_octets_and_services_and_networks(family: ApiHarness) -> None:
    await limit(family, name="octets", amount=str(4 * MB), kind="octets", period="day")
    await limit(family, name="calls", amount="0.00", services=["voice"])
    await limit(family, name="abroad", amount="0.00", visited=["310*"])
    assert await granted(family, I, 9) == 4
    assert await ask(family, T, 0, 6, number=1) is not None
    shown = {one["name"]: one for one in await listed(family)}
    assert (shown["octets"]["used"], shown["octets"]["left"]) == (str(6 * MB), "0")
    assert shown["calls"]["used"] == shown["abroad"]["used"] == "0.00"


async def test_the_profile_carries_them_with_the_limits_of_the_account(family: ApiHarness) -> None:
    await limit(family, not_visited=["262*"], period=" month  from 15 ")
    await limit(family, of="accounts/a1", name="all")
    packed = await family.redis.get(keys.profile("msisdn:491700000001"))
    profile = msgspec.msgpack.decode(packed, type=Profile)
    assert [(one.name, one.amount, one.period, one.shared) for one in profile.limits] == [
        ("all", 50_000, "month", True),
        ("monthly", 50_000, "month from 15", False),
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"period": "48 h"}, "period"),
        ({"period": "fortnight"}, "period"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "1.5", "kind": "octets"}, "amount"),
        ({"services": ["no-such"]}, "services"),
        ({"visited": ["Germany"]}, "visited"),
        ({"per": "day"}, "per"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_cannot_be_a_limit_is_refused_by_name(family: ApiHarness, body: dict[str, Any], words: str) -> None:
    refused = await limit(family, **body)
    assert refused.status_code in (400, 422), refused.text
    assert words in refused.text


async def test_of_nobody_there_are_none(family: ApiHarness) -> None:
    for of in ("subscribers/nobody", "accounts/nobody"):
        assert (await limit(family, of=of)).status_code == 404
        assert (await family.call("GET", f"/v1/{of}/limits")).status_code == 404


async def test_the_world_is_told_that_it_is_reached(family: ApiHarness) -> None:
    await limit(family, period="ever")
    await granted(family, I, 3)
    await ask(family, T, 0, 5, number=1)
    await limit(family, amount="1.00", period="ever")
    await granted(family, I, 3, session="gw;3")
    await family.sync()
    batch = await log.read(family.pool, 0, EventFilter(("limit.*",)))
    data = [msgspec.json.decode(one.row.data) for one in batch.events]
    assert [one.row.type for one in batch.events] == ["limit.reached", "limit.cleared"]
    assert data[0] == {
        "account": "a1",
        "subscriber": "kid",
        "limit": "monthly",
        "period": "",
        "kind": "money",
        "currency": "EUR",
        "level": "0.05",
        "value": "0.05",
    }
    assert (data[1]["subscriber"], data[1]["limit"]) == ("kid", "monthly")


async def given_back(family: ApiHarness, key: str, amount: str, **of: Any) -> str:
    """A refund; which entry it is."""
    await family.sync()
    body = {"amount": amount, "reason": "outage"} | of
    done = await family.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=key)
    assert done.status_code == 201, done.text
    await family.sync()
    return str(done.json()["entries"][0]["seq"])


async def counted(family: ApiHarness) -> list[str]:
    """What is used of the limits of the child, by their names."""
    return [one["used"] for one in sorted(await listed(family), key=lambda one: str(one["name"]))]


@pytest.mark.parametrize("by", ["session", "entry"])
async def test_a_refund_turns_back_what_the_use_counted(family: ApiHarness, by: str) -> None:
    """Money with each part, octets with the last one; its reversal counts it again."""
    await limit(family)
    await limit(family, name="octets", amount=str(9 * MB), kind="octets")
    assert await granted(family, I, 5) == 5
    assert await ask(family, T, 0, 5, number=1) == (Result.NO_GRANT, None)
    assert (await ask(family, I, 1, session="gw;2"))[0] == Result.CREDIT_LIMIT
    assert await counted(family) == ["0.05", str(5 * MB)]
    of: dict[str, Any] = {"session": "gw;1"} if by == "session" else {"entry": 2}
    await given_back(family, "r1", "0.03", **of)
    assert await counted(family) == ["0.02", str(5 * MB)]
    told = await family.pool.fetch("SELECT type FROM events WHERE type LIKE 'limit.%' ORDER BY seq")
    assert [row["type"] for row in told] == ["limit.reached", "limit.cleared"]
    assert await granted(family, I, 9, session="gw;3") == 3
    assert await ask(family, T, 0, 1, number=1, session="gw;3") == (Result.NO_GRANT, None)
    last = await given_back(family, "r2", "0.02", **of)
    assert await counted(family) == ["0.01", str(MB)]
    back = {"entry": int(last), "reason": "mistake"}
    done = await family.call("POST", "/v1/accounts/a1/reversals", back, idempotency_key="v1")
    assert done.status_code == 201, done.text
    assert await counted(family) == ["0.03", str(6 * MB)]
    await given_back(family, "r3", "0.02", **of)
    assert await counted(family) == ["0.01", str(MB)]
    assert (await verify(family.redis, family.backoffice.pool)).sound


async def told_of_limits(family: ApiHarness) -> list[str]:
    await family.sync()
    told = await family.pool.fetch("SELECT type FROM events WHERE type LIKE 'limit.%' ORDER BY seq")
    return [row["type"] for row in told]


async def bought(family: ApiHarness, session: str, megabytes: int) -> None:
    """An event of the child."""
    said = mscc(10, ask={"cc_total_octets": megabytes * MB})
    kid = (SubscriptionId(subscription_id_type=0, subscription_id_data="491700000001"),)
    action = RequestedAction.DIRECT_DEBITING
    asked = ccr(E, session_id=session, subscription_id=kid, requested_action=action, **lines(said))
    assert (await family.charge(asked)).result == Result.OK


async def test_a_refund_of_an_event_tells_once_that_there_is_room(family: ApiHarness) -> None:
    """By the back office. Octets are turned back with the last part."""
    await limit(family)
    await limit(family, name="octets", amount=str(5 * MB), kind="octets")
    await limit(family, of="accounts/a1", name="all", amount="9.00")
    await bought(family, "gw;1", 5)
    assert await told_of_limits(family) == ["limit.reached"] * 2
    for key, amount, cleared in (("r1", "0.01", 1), ("r2", "0.01", 1), ("r3", "0.03", 2)):
        body = {"amount": amount, "reason": "outage", "event": {"session": "gw;1"}}
        for _ in range(2):
            done = await family.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=key)
            assert done.status_code == 201, done.text
        assert await told_of_limits(family) == ["limit.reached"] * 2 + ["limit.cleared"] * cleared
    assert await counted(family) == ["0.00", "0.00", "0"]
    assert (await verify(family.redis, family.backoffice.pool)).sound


async def test_a_refund_of_an_event_by_the_network_tells_of_each_limit(family: ApiHarness) -> None:
    """Also one of octets, where money is asked back."""
    await limit(family)
    await limit(family, name="octets", amount=str(5 * MB), kind="octets")
    await bought(family, "gw;1", 5)
    kid = (SubscriptionId(subscription_id_type=0, subscription_id_data="491700000001"),)
    back = mscc(10, ask={"cc_money": CcMoney(unit_value=UnitValue(value_digits=5, exponent=-2), currency_code=978)})
    action = RequestedAction.REFUND_ACCOUNT
    asked = ccr(E, session_id="gw;1", cc_request_number=1, subscription_id=kid, requested_action=action, **lines(back))
    assert (await family.charge(asked)).result == Result.OK
    assert await told_of_limits(family) == ["limit.reached"] * 2 + ["limit.cleared"] * 2


@pytest.mark.parametrize("of", [{"session": "gw;1"}, {"event": {"session": "gw;2"}}], ids=["session", "event"])
async def test_room_is_what_the_limit_of_now_leaves(family: ApiHarness, of: dict[str, Any]) -> None:
    """It was 0.05 at the use, and 0.03 when 0.01 is given back: 0.04 is above that, 0.02 is not."""
    await limit(family)
    if "session" in of:
        await granted(family, I, 5)
        await ask(family, T, 0, 5, number=1)
    else:
        await bought(family, "gw;2", 5)
    assert await told_of_limits(family) == ["limit.reached"]
    await limit(family, amount="0.03")
    for key, amount, cleared in (("r1", "0.01", 0), ("r2", "0.02", 1)):
        body = {"amount": amount, "reason": "outage"} | of
        done = await family.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=key)
        assert done.status_code == 201, done.text
        assert await told_of_limits(family) == ["limit.reached"] + ["limit.cleared"] * cleared


async def test_an_entry_and_its_session_turn_back_what_is_left(family: ApiHarness) -> None:
    await limit(family, amount="1.00")
    assert await granted(family, I, 3) == 3
    assert await granted(family, U, 3, 3, number=1) == 3
    await ask(family, T, 0, 2, number=2)
    assert await counted(family) == ["0.05"]
    await given_back(family, "r1", "0.04", session="gw;1")
    await given_back(family, "r2", "0.01", entry=2)
    assert await counted(family) == ["0.00"]
    assert await granted(family, I, 2, session="gw;2") == 2
    await ask(family, T, 0, 2, number=1, session="gw;2")
    assert await counted(family) == ["0.02"]


async def test_a_bundle_that_paid_a_part_keeps_its_units_counted(family: ApiHarness) -> None:
    bundle = """
        tariff = "flat"
        currency = "EUR"

        [[rows]]
        when = { service = "data" }
        bundle = { per = "1 MB" }

        [[rows]]
        name = "beyond"
        when = { service = "data" }
        flat = { price = "0.01", per = "1 MB" }
    """
    await family.tariff(bundle)
    await family.top_up(str(2 * MB), kind="octets")
    await limit(family)
    await limit(family, name="octets", amount=str(9 * MB), kind="octets")
    assert await granted(family, I, 5) == 5
    await ask(family, T, 0, 5, number=1)
    assert await counted(family) == ["0.03", str(5 * MB)]
    await given_back(family, "r1", "0.03", session="gw;1")
    assert await counted(family) == ["0.00", str(5 * MB)]


async def test_a_refund_turns_back_the_volume_of_the_month(family: ApiHarness) -> None:
    """The first two megabytes of a month cost 0.02 each: those that were given back are cheap to nobody."""
    dearer = """
        tariff = "flat"
        currency = "EUR"

        [counters.monthly]
        counts = "octets"
        period = "month"
        when = { service = "data" }

        [[rows]]
        name = "first"
        when = { service = "data" }
        below = { monthly = "2 MB" }
        flat = { price = "0.02", per = "1 MB" }

        [[rows]]
        name = "beyond"
        when = { service = "data" }
        flat = { price = "0.01", per = "1 MB" }
    """
    await family.tariff(dearer)

    async def used(session: str) -> str:
        before = (await family.call("GET", "/v1/accounts/a1")).json()["balance"]
        assert await granted(family, I, 3, session=session) == 3
        await ask(family, T, 0, 3, number=1, session=session)
        after = (await family.call("GET", "/v1/accounts/a1")).json()["balance"]
        return f"{Decimal(before) - Decimal(after)}"

    assert await used("gw;1") == "0.05"
    assert await used("gw;2") == "0.03"
    await given_back(family, "r1", "0.03", session="gw;2")
    assert await used("gw;3") == "0.03"
    await given_back(family, "r2", "0.03", session="gw;3")
    await given_back(family, "r3", "0.04", session="gw;1")
    assert await used("gw;4") == "0.03", "of the part units are not turned back"
    await given_back(family, "r4", "0.03", session="gw;4")
    await given_back(family, "r5", "0.01", session="gw;1")
    assert await used("gw;5") == "0.05"


async def test_use_that_was_paid_ahead_is_turned_back_too(family: ApiHarness) -> None:
    """Three reports of a block of three megabytes: the first one pays for all."""
    await family.tariff(
        """
        tariff = "flat"
        currency = "EUR"

        [[rows]]
        when = { service = "data" }
        flat = { price = "0.03", per = "3 MB" }
        """
    )
    await limit(family, amount="1.00")
    await limit(family, name="octets", amount=str(9 * MB), kind="octets")
    assert await granted(family, I, 3) == 3
    await ask(family, U, 1, 1, number=1)
    await ask(family, U, 1, 1, number=2)
    await ask(family, T, 0, 1, number=3)
    assert await counted(family) == ["0.03", str(3 * MB)]
    await given_back(family, "r1", "0.03", session="gw;1")
    assert await counted(family) == ["0.00", "0"]


HOURLY = """
    tariff = "flat"
    currency = "EUR"

    [counters.octets]
    counts = "octets"
    period = "1 h"
    when = { service = "data" }

    [counters.money]
    counts = "money"
    period = "1 h"
    when = { service = "data" }

    [[rows]]
    when = { service = "data" }
    below = { octets = "1 GB" }
    flat = { price = "0.01", per = "1 MB" }

    [[rows]]
    name = "beyond"
    when = { service = "data" }
    below = { money = "100.00" }
    flat = { price = "0.02", per = "1 MB" }

    [[rows]]
    name = "rest"
    when = { service = "data" }
    flat = { price = "0.03", per = "1 MB" }
"""


async def test_a_refund_turns_back_nothing_of_a_window_that_the_use_was_not_in(family: ApiHarness) -> None:
    """Of three megabytes that a session used two are of the hour before."""

    async def in_window() -> dict[str, int]:
        account, _ = await accounts.read(family.backoffice, await accounts.find(family.backoffice, "a1"))
        return {one.key.split("|")[0]: one.used for one in account.counters}

    await family.tariff(HOURLY)
    assert await granted(family, I, 2) == 2
    assert await granted(family, U, 1, 2, number=1) == 1
    family.ahead_ms += 2 * 3_600_000
    await ask(family, T, 0, 1, number=2)
    assert await granted(family, I, 3, session="gw;2") == 3
    await ask(family, T, 0, 3, number=1, session="gw;2")
    assert await in_window() == {"octets": 4 * MB, "money": 40_000}
    await given_back(family, "r1", "0.015", session="gw;1")
    assert await in_window() == {"octets": 4 * MB, "money": 35_000}, "half of what it had cost in this window"
    await given_back(family, "r2", "0.015", session="gw;1")
    assert await in_window() == {"octets": 3 * MB, "money": 30_000}


PACKAGED = """
    tariff = "flat"
    currency = "EUR"

    [counters.money]
    counts = "money"
    period = "month"
    when = { service = "data" }

    [[rows]]
    name = "package"
    when = { service = "data" }
    bundle = { per = "1 MB" }

    [[rows]]
    when = { service = "data" }
    below = { money = "100.00" }
    flat = { price = "0.02", per = "1 MB" }

    [[rows]]
    name = "rest"
    when = { service = "data" }
    flat = { price = "0.03", per = "1 MB" }
"""


async def test_the_price_of_a_bucket_is_turned_back_of_limits_alone(family: ApiHarness) -> None:
    """One megabyte at 0.01 of a bucket and one at 0.02 of the list; of 0.03 a half is given back, and then the rest."""

    async def counters() -> dict[str, int]:
        account, _ = await accounts.read(family.backoffice, await accounts.find(family.backoffice, "a1"))
        return {one.key.split(":")[0]: one.used for one in account.counters}

    await family.tariff(PACKAGED)
    await limit(family, amount="1.00")
    await family.pool.execute("UPDATE store SET format = 3")
    package: dict[str, Any] = {"kind": "octets", "scope": ["data"], "price": "0.01", "per": MB}
    assert (await family.top_up(str(MB), **package)).status_code == 201
    assert await granted(family, I, 2) == 2
    await ask(family, T, 0, 2, number=1)
    assert (await counted(family), (await counters())["money"]) == (["0.03"], 20_000)
    await given_back(family, "r1", "0.015", session="gw;1")
    assert (await counted(family), (await counters())["money"]) == (["0.015"], 10_000)
    await given_back(family, "r2", "0.015", session="gw;1")
    assert (await counted(family), (await counters()).get("money", 0)) == (["0.00"], 0)
