"""PostgreSQL has no NUL: a name with one is nobody's, or is refused; it is no failure of the server."""

from __future__ import annotations

from typing import Any, Final

from tests.ocs.api_harness import ApiHarness

NUL: Final = "a\x00b"
ONE: Final[dict[str, Any]] = {"lines": [{"used": {"octets": 1}}]}
LOOKS: Final = (
    *("audit?caller=", "audit?request=", "audit?operation=", "suspense?session=", "jobs?session="),
    *("events?service=", "events?last_event_id=", "subscribers?identity=msisdn:", "fees/due?after="),
    *("accounts/a1/transfers?before=", "sessions/", "search?q=", "accounts?customer=", "accounts?tag="),
)
WISHES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("accounts/a1/refunds", {"amount": "1", "reason": "r", "session": NUL}),
    ("accounts/a1/refunds", {"amount": "1", "reason": "r", "event": {"session": NUL}}),
    ("charging/sessions", {"service": NUL, "identity": "msisdn:491", "lines": [{}]}),
    ("charging/sessions/s1/stop", {"service": NUL, "number": 1} | ONE),
    ("charging/sessions/s1/update", {"service": NUL, "number": 1, "identity": "msisdn:491"} | ONE),
    ("charging/events", {"service": "data", "identity": "msisdn:491", "action": "refund", "refund_token": NUL}),
    ("reservations", {"service": NUL, "identity": "msisdn:491", "amount": "1", "lasts_s": 60}),
    ("quote", {"service": NUL, "subscriber": "s1", "amount": "1"}),
    ("webhooks", {"url": f"https://example.net/{NUL}"}),
    ("vouchers/find", {"code": NUL}),
)


async def test_a_look_with_one(harness: ApiHarness) -> None:
    await harness.account()
    for path in LOOKS:
        answer = await harness.call("GET", f"/v1/{path}a%00b")
        assert answer.status_code < 500, path


async def test_a_wish_with_one(harness: ApiHarness) -> None:
    await harness.account()
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491")
    await harness.newest()
    for place, (path, body) in enumerate(WISHES):
        answer = await harness.call("POST", f"/v1/{path}", body, idempotency_key=f"k{place}")
        assert answer.status_code < 500, (path, body)
    await harness.sync()
    assert await harness.pool.fetchval("SELECT count(*) FROM quarantined") == 0
