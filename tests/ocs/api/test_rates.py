"""Exchange rates: set by the day, in force until the next one, and with the workers while they may price something."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from balances import keys
from ocs.master.catalog import FIELDS, unpack_catalog
from tests.ocs.api_harness import ApiHarness


async def put(harness: ApiHarness, day: str, **pairs: Any) -> httpx.Response:
    rates = [{"of": pair[:3], "into": pair[3:], "rate": rate} for pair, rate in pairs.items()]
    return await harness.call("PUT", f"/v1/exchange-rates/{day}", {"rates": rates})


async def in_force(harness: ApiHarness, query: str = "") -> dict[str, tuple[str, str]]:
    answer = await harness.call("GET", f"/v1/exchange-rates?{query}")
    assert answer.status_code == 200, answer.text
    return {one["of"] + one["into"]: (one["rate"], one["day"]) for one in answer.json()["items"]}


async def test_a_rate_is_in_force_until_the_next(harness: ApiHarness) -> None:
    done = await put(harness, "2026-03-01", USDEUR="0.9231", GBPEUR="1.15")
    assert (done.status_code, done.json()["on"]) == (200, "2026-03-01")
    assert done.json()["items"][0] == {"of": "USD", "into": "EUR", "rate": "0.9231", "day": "2026-03-01"}
    await put(harness, "2026-03-03", USDEUR="0.93")
    assert await in_force(harness, "on=2026-02-28") == {}
    first = {"USDEUR": ("0.9231", "2026-03-01"), "GBPEUR": ("1.15", "2026-03-01")}
    assert await in_force(harness, "on=2026-03-02") == first
    assert await in_force(harness, "on=2026-03-03") == first | {"USDEUR": ("0.93", "2026-03-03")}
    assert await in_force(harness, "on=2026-03-03&of=USD&into=EUR") == {"USDEUR": ("0.93", "2026-03-03")}
    assert await in_force(harness, "into=GBP") == {}
    assert len(await in_force(harness)) == 2


async def test_a_day_may_be_corrected_pair_by_pair(harness: ApiHarness) -> None:
    await put(harness, "2026-03-01", USDEUR="0.9231", GBPEUR="1.15")
    await put(harness, "2026-03-01", USDEUR="0.9232")
    corrected = {"USDEUR": ("0.9232", "2026-03-01"), "GBPEUR": ("1.15", "2026-03-01")}
    assert await in_force(harness, "on=2026-03-01") == corrected
    version = await harness.redis.hget(keys.CATALOG, "version")
    await put(harness, "2026-03-01", USDEUR="0.9232")
    assert await harness.redis.hget(keys.CATALOG, "version") == version  # the same again is no news for workers


async def test_workers_have_what_may_still_price_something(harness: ApiHarness) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=ago) for ago in (90, 50, 40, 39, 1, -5)]
    for number, day in enumerate(days):
        await put(harness, day.isoformat(), USDEUR=f"0.{number + 1}")
    await put(harness, days[0].isoformat(), GBPEUR="1.15")
    version, *packed = await harness.redis.hmget(keys.CATALOG, "version", *FIELDS)
    exchanges = unpack_catalog(int(version), packed).catalog.exchanges

    def at(pair: str, day: date, more_ms: int = 0) -> str | None:
        ms = (day - date(1970, 1, 1)).days * 86_400_000 + more_ms
        found = exchanges.at(pair[:3], pair[3:], ms)
        return f"{found.written} of {found.day}" if found is not None else None

    assert [at("USDEUR", day) for day in days[:2]] == [None, None]
    assert [at("USDEUR", day) for day in days[2:]] == [
        f"0.{number} of {day}" for number, day in zip((3, 4, 5, 6), days[2:], strict=True)
    ]
    assert at("USDEUR", days[3], -1) == f"0.3 of {days[2]}"
    assert at("GBPEUR", today) == f"1.15 of {days[0]}"
    assert at("EURUSD", today) is None


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("2026-03-01", {"USDEUR": "0"}, "rates[0].rate"),
    ("2026-03-01", {"USDEUR": "0.000"}, "rates[0].rate"),
    ("2026-03-01", {"USDEUR": "-1"}, "rate"),
    ("2026-03-01", {"USDEUR": "1e3"}, "rate"),
    ("2026-03-01", {"USDEUR": "01.5"}, "rate"),
    ("2026-03-01", {"USDEUR": "1\n"}, "rate"),
    ("2026-03-01", {"USDEUR": "0.1234567890123"}, "rate"),
    ("2026-03-01", {"USDEUR": 0.9}, "rate"),
    ("2026-03-01", {"EURQQQ": "1"}, "QQQ"),
    ("2026-03-01", {"EUREUR": "1"}, "EUR twice"),
    ("2026-03-01", {}, "rates"),
    ("2026-02-30", {"USDEUR": "1"}, "day"),
    ("20260301", {"USDEUR": "1"}, "day"),
    ("today", {"USDEUR": "1"}, "day"),
]


async def test_what_is_no_rate(harness: ApiHarness) -> None:
    for day, pairs, names in REFUSED:
        refused = await put(harness, day, **pairs)
        assert refused.status_code == 422, pairs
        assert names in refused.json()["detail"]
    twice = {"rates": [{"of": "USD", "into": "EUR", "rate": rate} for rate in ("1", "2")]}
    assert (await harness.call("PUT", "/v1/exchange-rates/2026-03-01", twice)).status_code == 422
    assert (await harness.call("GET", "/v1/exchange-rates?on=2026-02-30")).status_code == 422
    assert await in_force(harness) == {}
