"""Every type of event: what it tells when it happens, its schema, its row in docs/events.md."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from balances.ledger import events as ledger_events
from balances.ledger.event_filter import EventFilter
from balances.ledger.events import ON_DEMAND
from balances.ledger.record import RecordedCall
from balances.structs.posting import Expire
from balances.structs.thresholds import Crossing, CrossingKind, CrossingOf
from ocs.api.openapi import openapi
from ocs.api.server import OPERATIONS
from ocs.events import log, outbox
from ocs.events.types import KINDS, TYPES, BucketExpiring, JobFailed
from tests.balances.ledger.books import LedgerStores, close, connect
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, U, ccr, lines, mscc
from tests.servers import Servers
from tests.shape.source import ROOT

MB = 2**20
EVERYTHING = EventFilter(tuple(TYPES))
DOCUMENT = json.loads(msgspec.json.encode(openapi(OPERATIONS, "1")))


@pytest.fixture
async def books(servers: Servers) -> AsyncIterator[LedgerStores]:
    both = await connect(servers.redis_url, servers.pg_dsn)
    await both.open()
    await log.subscribe(both.pool, "all", "test", EVERYTHING)
    yield both
    await close(both)


def schema_of(type_: str) -> dict[str, Any]:
    """Of a whole event, as the OpenAPI document has it."""
    (content,) = DOCUMENT["webhooks"][type_]["post"]["requestBody"]["content"].values()
    return {**content["schema"], "components": DOCUMENT["components"]}


async def told(pool: Any) -> list[dict[str, Any]]:
    """All events, each valid by the schema of its type."""
    batch = await log.read(pool, 0, None)
    source = await log.source(pool)
    events = [json.loads(one.event(source).json()) for one in batch.events]
    for event in events:
        jsonschema_rs.validator_for(schema_of(event["type"])).validate(event)
    return events


async def test_a_session_from_its_beginning_to_its_end(harness: ApiHarness) -> None:
    await log.subscribe(harness.pool, "all", "test", EVERYTHING)
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    for kind, number, used in ((I, 0, ()), (U, 1, {"cc_total_octets": MB}), (T, 2, {"cc_total_octets": MB})):
        ask = None if kind == T else {"cc_total_octets": MB}
        said = lines(mscc(10, ask=ask, used=used))
        await harness.charge(ccr(kind, session_id="gw;1", cc_request_number=number, **said))
    # A second TERMINATION, and use that is late, end nothing.
    await harness.charge(
        ccr(T, session_id="gw;1", cc_request_number=3, **lines(mscc(10, used={"cc_total_octets": MB})))
    )
    await harness.charge(ccr(I, session_id="gw;2", **lines(mscc(10, ask={"cc_total_octets": MB}))))
    await harness.store.expire(Expire("a1", "gw;2", harness.now_ms() + 10 * 86_400_000)).wait()
    await harness.sync()
    await outbox.move(harness.pool)
    events = await told(harness.pool)
    sessions = [(event["type"], event["subject"]) for event in events if event["type"].startswith("session.")]
    assert sessions == [
        ("session.opened", "gw;1"),
        ("session.ended", "gw;1"),
        ("session.opened", "gw;2"),
        ("session.abandoned", "gw;2"),
    ]
    (ended,) = [event for event in events if event["type"] == "session.ended"]
    assert (ended["data"]["debited"], ended["service"], ended["account"]) == ("0.02", "data", "a1")
    types = {event["type"] for event in events}
    assert types >= {"account.opened", "top_up.received", "balance.changed", "tariff.published"}


@pytest.mark.parametrize(
    ("crossing", "expected"),
    [
        pytest.param(
            Crossing(CrossingKind.SUSPEND, CrossingOf.SERVICE, "data", 1_000_000, 500_000),
            ("service.suspended", {"service": "data", "level": "1.00", "value": "0.50"}),
            id="service-suspended",
        ),
        pytest.param(
            Crossing(CrossingKind.RESUME, CrossingOf.SERVICE, "data", 1_000_000, 1_000_000),
            ("service.resumed", {"service": "data", "value": "1.00"}),
            id="service-resumed",
        ),
        pytest.param(
            Crossing(CrossingKind.BELOW, CrossingOf.THRESHOLD, "last-gb", 2**30, 7, 1, "bundle"),
            ("threshold.crossed", {"threshold": "last-gb", "kind": "octets", "bucket": "bundle", "value": "7"}),
            id="threshold-crossed",
        ),
        pytest.param(
            Crossing(CrossingKind.ABOVE, CrossingOf.THRESHOLD, "low", 5_000_000, 5_000_000),
            ("threshold.cleared", {"threshold": "low", "level": "5.00"}),
            id="threshold-cleared",
        ),
    ],
)
async def test_crossings(books: LedgerStores, crossing: Crossing, expected: tuple[str, dict[str, Any]]) -> None:
    await books.move("alice", 5, threshold_events=[crossing])
    await books.sync.step()
    changed, event = await told(books.pool)
    assert changed["type"] == "balance.changed"
    assert (event["type"], event["account"]) == (expected[0], "alice")
    assert {name: event["data"][name] for name in expected[1]} == expected[1]


async def test_what_is_no_record(books: LedgerStores) -> None:
    async with books.pool.acquire() as pg:
        failed = JobFailed("j1", "abort", "alice", "s;1", "pgw", 3, "timeout")
        await outbox.emit(pg, "job.failed", failed, at_ms=1_000, key="j1", subject="j1", account="alice")
        ends = BucketExpiring("alice", 1, "", "octets", "EUR", "5", "2026-01-01T00:00:00Z")
        await outbox.emit(pg, "bucket.expiring", ends, at_ms=1_001, key="a\nb", subject="alice/1", account="alice")
        with pytest.raises(TypeError, match=r"job\.failed: expected JobFailed, not BucketExpiring"):
            await outbox.emit(pg, "job.failed", ends, at_ms=1, key="x", subject="x")
    await outbox.move(books.pool)
    first, second = await told(books.pool)
    assert (first["id"], first["time"], second["id"]) == (
        "job.failed:j1",
        "1970-01-01T00:00:01Z",
        "bucket.expiring:a?b",
    )


async def test_a_record_of_which_no_event_can_be_made_is_copied_and_told(
    books: LedgerStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = ledger_events._changed

    def broken(call: RecordedCall) -> Any:
        return 1 / 0 if call.record.account == "alice" else changed(call)

    monkeypatch.setattr(ledger_events, "_changed", broken)
    await books.move("alice", 5)
    await books.move("bob", 5)
    await books.sync.step()
    assert await books.balance("alice") == 5
    events = await told(books.pool)
    assert sorted(event["type"] for event in events) == ["balance.changed", "invariant.violated"]


async def test_a_record_in_quarantine_is_told(books: LedgerStores) -> None:
    await books.move("alice", 2**53 + 1)
    await books.sync.step()
    await outbox.move(books.pool)
    (event,) = await told(books.pool)
    assert (event["type"], event["account"]) == ("invariant.violated", "alice")
    assert "beyond 2^53" in event["data"]["detail"]


def test_each_type_is_in_the_document_of_the_api() -> None:
    assert set(DOCUMENT["webhooks"]) == set(TYPES)
    assert set(TYPES) >= ON_DEMAND
    for type_ in TYPES:
        jsonschema_rs.validator_for(schema_of(type_))


def test_the_table_of_types_is_what_the_code_has() -> None:
    written = re.findall(
        r"^\| `([a-z_.]+)` \| (.+) \| (.+) \| (.+) \|$", Path(ROOT, "docs/events.md").read_text(), re.M
    )
    how = {False: "always", True: "on demand"}
    expected = [
        (kind.name, kind.summary, kind.subject, how[kind.on_demand] + (", by name" if kind.by_name_only else ""))
        for kind in KINDS
    ]
    assert written == expected
