"""charging.md section 9: a refund turns back what the use counted. Of a session that is rounded a counter that prices
depend on counted what its lines came to before (section 4), and that is turned back: to the micro-unit, by parts."""

from __future__ import annotations

from random import Random

import pytest

from balances.ledger.verify import verify
from ocs.backoffice import accounts
from protocol.diameter.dictionary.credit_control import SubscriptionId
from tariffs.units import SumRounding
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, U, ccr, lines, mscc
from tests.tariffs.blockwise import multiple

KB, SESSION = 1_024, "gw;1"


def tariff(rounding: str) -> str:
    return f"""
        tariff = "flat"
        currency = "EUR"

        [counters.spent]
        counts = "money"
        period = "month"
        when = {{ service = "data" }}

        [[rows]]
        when = {{ service = "data" }}
        below = {{ spent = "1000.00" }}
        flat = {{ price = "0.0001", per = "1 KiB" }}
        round = {{ to = "0.01", of = "session", rounding = "{rounding}" }}

        [[rows]]
        name = "rest"
        when = {{ service = "data" }}
        flat = {{ price = "0", per = "1 KiB" }}
        round = {{ to = "0.01", of = "session", rounding = "{rounding}" }}
    """


class Customer:
    """Uses data in sessions of two lines, and is given back what they cost."""

    def __init__(self, harness: ApiHarness) -> None:
        self.harness, self.requests = harness, 0

    async def begins(self, rounding: str) -> None:
        await self.harness.account()
        await self.harness.top_up("100.00")
        await self.harness.tariff(tariff(rounding))
        await self.harness.subscriber("s1", "a1", "msisdn:491700000001")

    async def uses(self, reports: list[dict[int, int]], session: str = SESSION) -> None:
        """By service identifier, in kB."""
        who = (SubscriptionId(subscription_id_type=0, subscription_id_data="491700000001"),)
        for number, report in enumerate([{}, *reports]):
            kind = I if not number else T if number == len(reports) else U
            ask = None if kind == T else {"cc_total_octets": 10_000 * KB}
            said = [
                mscc(
                    10,
                    service_identifier=(of,),
                    ask=ask,
                    used={"cc_total_octets": report[of] * KB} if of in report else (),
                )
                for of in (report or (1, 2))
            ]
            await self.harness.charge(
                ccr(kind, session_id=session, cc_request_number=number, subscription_id=who, **lines(*said))
            )
        await self.harness.sync()

    async def spent(self) -> int:
        account, _ = await accounts.read(self.harness.backoffice, await accounts.find(self.harness.backoffice, "a1"))
        return sum(one.used for one in account.counters if one.key.startswith("spent"))

    async def balance(self) -> int:
        account, _ = await accounts.read(self.harness.backoffice, await accounts.find(self.harness.backoffice, "a1"))
        return account.buckets[0].amount

    async def given_back(self, amount: int, **of: object) -> int:
        """A refund; which entry it is."""
        self.requests += 1
        body = {"amount": f"{amount // 10**6}.{amount % 10**6:06d}", "reason": "outage"} | of
        done = await self.harness.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=f"r{self.requests}")
        assert done.status_code == 201, done.text
        await self.harness.sync()
        return int(done.json()["entries"][0]["seq"])


@pytest.fixture
async def customer(harness: ApiHarness) -> Customer:
    return Customer(harness)


@pytest.mark.parametrize("rounding", ["up", "down", "half_up", "half_even"])
async def test_the_whole_refund_leaves_nothing_counted(customer: Customer, rounding: str) -> None:
    """0.0137 of one line and 0.0098 of the other one are 0.0235: 0.02 or 0.03. The other session stays counted."""
    await customer.begins(rounding)
    await customer.uses([{1: 151}], session="gw;2")
    await customer.uses([{1: 137}, {2: 98}])
    assert await customer.spent() == 15_100 + 23_500
    cost = multiple(23_500, 10_000, SumRounding[rounding.upper()])
    await customer.given_back(cost, session=SESSION)
    assert await customer.spent() == 15_100


@pytest.mark.parametrize("seed", range(6))
async def test_parts_turn_back_in_proportion_and_the_last_one_all_that_is_left(customer: Customer, seed: int) -> None:
    rng = Random(seed)
    rounding = rng.choice(["up", "down", "half_up", "half_even"])
    await customer.begins(rounding)
    reports = [{of: rng.randrange(1, 400) for of in rng.sample((1, 2), rng.randrange(1, 3))} for _ in range(4)]
    await customer.uses([*reports, {1: 100}])
    counted = 100 * sum(sum(report.values()) for report in [*reports, {1: 100}])
    assert await customer.spent() == counted
    left = 100_000_000 - await customer.balance()
    assert left == multiple(counted, 10_000, SumRounding[rounding.upper()])
    while left:
        part = min(rng.choice((1, 3_333, 10_000, 17_001, left)), left)
        turned = counted * part // left
        last = await customer.given_back(part, session=SESSION)
        assert await customer.spent() == counted - turned
        if rng.random() < 0.3:  # its reversal counts the same again
            back = {"entry": last, "reason": "mistake"}
            done = await customer.harness.call("POST", "/v1/accounts/a1/reversals", back, idempotency_key=f"v{last}")
            assert done.status_code == 201, done.text
            await customer.harness.sync()
            assert await customer.spent() == counted
        else:
            left, counted = left - part, counted - turned
    assert await customer.spent() == 0
    assert (await verify(customer.harness.redis, customer.harness.backoffice.pool)).sound


async def test_an_entry_turns_back_what_the_use_that_it_paid_came_to(customer: Customer) -> None:
    """0.0040 cost nothing yet, the 0.0098 after that 0.01: that is what the entry of 0.01 paid."""
    await customer.begins("half_up")
    await customer.uses([{1: 40}, {2: 98}])
    assert await customer.spent() == 13_800
    await customer.given_back(5_000, entry=2)
    assert await customer.spent() == 13_800 - 4_900
    await customer.given_back(5_000, entry=2)
    assert await customer.spent() == 4_000


async def test_what_was_corrected_is_not_turned_back(customer: Customer) -> None:
    """Half of it was given back by rating again: the other half turns back half of what was counted."""
    await customer.begins("down")
    await customer.uses([{1: 215}])
    assert await customer.spent() == 21_500
    correction = {"amount": "0.01", "reason": "rated again", "reference": "usage", "original_seq": 2}
    done = await customer.harness.call("POST", "/v1/accounts/a1/corrections", correction, idempotency_key="c1")
    assert done.status_code == 201, done.text
    await customer.harness.sync()
    await customer.given_back(10_000, session=SESSION)
    assert await customer.spent() == 10_750
