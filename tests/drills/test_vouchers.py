"""Vouchers while processes are killed: each is credited once to whoever claimed it, whatever dies between the two.

Redeemers know the public API alone. Several try each code at once, and repeat what was not answered under the same key.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from loadtest.api import Api, ApiError
from tests.bench.server import running
from tests.drills.test_kill import postgres, redis, until_ready, verify
from tests.drills.test_platforms import the_api

pytestmark = pytest.mark.serial

CODES, REDEEMERS = 240, 3
ANSWERED_S = 60.0


async def redeem(api: Api, code: str, account: str) -> int:
    """The status that it came to: the same again, however often the server dies."""
    body, headers = {"code": code, "account": account}, {"Idempotency-Key": f"{code}/{account}"}
    async with asyncio.timeout(ANSWERED_S):
        while True:
            try:
                answer = await api.call("POST", ("v1", "vouchers", "redeem"), body=body, headers=headers)
            except ApiError:
                answer = None
            if answer is not None and answer.status < 500:
                return answer.status
            await asyncio.sleep(0.1)


async def test_each_voucher_is_credited_once() -> None:
    async with running("durability=always", "vouchers.wrong_max=0") as server, Api(server.url, server.token) as api:
        batch = {"count": CODES, "amount": "1.00", "currency": "EUR"}
        await api.put("v1", "voucher-batches", "b1", body=batch)
        out = await api.call("POST", ("v1", "voucher-batches", "b1", "export"))
        codes = [line["code"] for line in out.body]
        assert len(codes) == CODES
        await api.put("v1", "voucher-batches", "b1", "state", body={"state": "active"})
        accounts = [f"a{number}" for number in range(REDEEMERS)]
        for account in accounts:
            await api.put("v1", "accounts", account, body={"currency": "EUR"})
        left, statuses = list(codes), Counter[int]()

        async def sell() -> None:
            while left:
                code = left.pop()
                statuses.update(await asyncio.gather(*(redeem(api, code, account) for account in accounts)))

        selling = [asyncio.ensure_future(sell()) for _ in range(4)]
        for part, disaster in enumerate((the_api, redis, postgres), 1):
            async with asyncio.timeout(ANSWERED_S):
                while len(left) > CODES - part * CODES // 4:
                    await asyncio.sleep(0.02)
            await disaster(server)
        await asyncio.gather(*selling)
        await until_ready(server)
        assert statuses == {201: CODES, 409: (REDEEMERS - 1) * CODES}
        found = [float((await api.get("v1", "accounts", account))["balance"]) for account in accounts]
        assert sum(found) == CODES
        async with asyncio.timeout(ANSWERED_S):
            while (await api.get("v1", "voucher-batches", "b1"))["credited"] < CODES:
                await asyncio.sleep(0.2)
        await verify(server)
