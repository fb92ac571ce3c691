"""What is counted of records: money of use that nothing was held for, by the peer of its session."""

import structlog

from balances.structs.charge import Flag
from balances.structs.record import Record, Usage
from ocs.keeper import counts
from ocs.keeper.counts import KeeperStats, count
from ocs.telemetry.log import logger


def record(flags: int, cost: int, currency: str = "EUR") -> Record:
    usage = Usage(10, -1, 1, 5, 0, 5, cost, 0, 0, flags, "flat", 1_000)
    return Record(1, "charge", "alice", currency, service="data", usages=[usage])


def counted(*calls: tuple[Record, str]) -> dict[tuple[str, ...], int]:
    stats = KeeperStats()
    with structlog.testing.capture_logs():
        for call, peer in calls:
            count(call, peer, stats, logger())
    return stats.unheld


def test_use_without_a_hold_is_counted_by_peer_mark_and_currency() -> None:
    assert counted(
        (record(Flag.UNMATCHED, 100), "pgw1"),
        (record(Flag.UNMATCHED | Flag.OVERRUN, 10), "pgw1"),
        (record(Flag.LATE, 7), "pgw2"),
        (record(Flag.LATE, 5, "USD"), "pgw2"),
    ) == {
        ("pgw1", "unmatched", "EUR"): 110,
        ("pgw2", "late", "EUR"): 7,
        ("pgw2", "late", "USD"): 5,
    }


def test_use_that_was_granted_or_cost_nothing_is_not_counted() -> None:
    assert counted((record(0, 100), "pgw1"), (record(Flag.OVERRUN, 100), "pgw1"), (record(Flag.LATE, 0), "pgw1")) == {}


def test_of_very_many_peers_the_last_ones_are_counted_together() -> None:
    found = counted(*((record(Flag.LATE, 1), f"pgw{number}") for number in range(counts.PEERS_MAX + 50)))
    assert len(found) == counts.PEERS_MAX + 1
    assert found["other", "late", "EUR"] == 50
