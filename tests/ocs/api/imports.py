"""Imports as a back office sends them, and what it hears."""

from typing import Any

import msgspec

from tests.ocs.api_harness import ApiHarness

Event = dict[str, Any]


def person(number: int, balance: str | None = "20.00", **more: Any) -> dict[str, Any]:
    """Account a<number> with its subscriber s<number>."""
    return {
        "account": {"id": f"a{number}", "currency": "EUR"} | ({} if balance is None else {"balance": balance}),
        "subscriber": {
            "id": f"s{number}",
            "identities": [f"msisdn:4917{number:08d}"],
            "tariffs": [{"tariff": "flat"}],
        }
        | more,
    }


def as_lines(lines: list[Any]) -> bytes:
    return b"".join((one if isinstance(one, bytes) else msgspec.json.encode(one)) + b"\n" for one in lines)


async def imported(harness: ApiHarness, lines: list[Any], query: str = "") -> list[Event]:
    answer = await harness.call("POST", f"/v1/import{query}", as_lines(lines), content_type="application/x-ndjson")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [msgspec.json.decode(line) for line in answer.content.splitlines()]


def errors(events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"] == "error"]


def counts(events: list[Event]) -> tuple[int, int, int, int, int]:
    """(errors, accounts new, unchanged, subscribers new, unchanged) of an import that was done to its end."""
    last = events[-1]
    assert last["event"] == "done", last
    names = ("errors", "accounts_created", "accounts_unchanged", "subscribers_created", "subscribers_unchanged")
    return tuple(last[name] for name in names)
