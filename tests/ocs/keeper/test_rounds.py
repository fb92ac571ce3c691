"""Which failures of a keeper's work are which: only a promise that does not hold counts as a failed proof."""

import asyncio
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisClusterException

from balances.ledger.supervision import Supervision
from balances.redis.primaries import OnePrimary
from ocs.clock import now_ms
from ocs.keeper import leases
from ocs.keeper.counts import KeeperStats
from ocs.keeper.leases import Leases
from ocs.keeper.rounds import Rounds
from ocs.telemetry.log import logger


async def logged(*whys: Exception, name: str = "sweep") -> tuple[KeeperStats, list[Any]]:
    """Of work that raises these, one after the other."""
    stats = KeeperStats()
    rounds = Rounds(stats, logger(), now_ms, 60_000)
    with structlog.testing.capture_logs() as logs:
        for why in whys:

            async def work(why: Exception = why) -> None:
                raise why

            await rounds.once(name, work)
    return stats, logs


@pytest.mark.parametrize(
    "why",
    [
        AttributeError("'NoneType' object has no attribute 'writelines'"),
        RuntimeError("unable to perform operation on <TCPTransport closed=True reading=False>; the handler is closed"),
        RedisClusterException("Redis Cluster cannot be connected"),
    ],
)
async def test_a_connection_that_is_being_closed_is_a_store_that_is_away(why: Exception) -> None:
    stats, logs = await logged(why)
    assert [(line["event"], line["store"], line["work"]) for line in logs] == [("keeper.store_away", "redis", "sweep")]
    assert (stats.alarms, stats.failures) == (0, {})


async def test_an_error_that_nobody_foresaw_is_counted_and_is_no_failed_proof() -> None:
    stats, logs = await logged(AttributeError("a mistake"), AttributeError("a mistake"), KeyError(1))
    assert (stats.alarms, stats.failures) == (0, {("sweep",): 3})
    assert [(line["event"], line["work"]) for line in logs] == [("keeper.failed", "sweep")] * 2  # one for each kind


async def test_a_promise_that_does_not_hold_is_a_failed_proof_and_a_remark_is_none() -> None:
    stats = KeeperStats()
    rounds = Rounds(stats, logger(), now_ms, 60_000)
    rounds.remark("more than usual")
    assert stats.alarms == 0
    rounds.alarm("a gap")
    assert (stats.alarms, stats.failures) == (1, {})


async def test_a_live_store_that_hangs_is_not_called_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "ASK_S", 0.05)

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    redis: Any = Redis.from_url(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    kept = Leases(Supervision(redis, "token"), OnePrimary(redis), ("copy",))
    rounds = Rounds(KeeperStats(), logger(), now_ms, 60_000)
    with structlog.testing.capture_logs() as logs:
        await rounds.once("leases", kept.renew)
    gone.set()
    server.close()
    assert [(line["event"], line["store"]) for line in logs] == [("keeper.store_away", "redis")]
    assert logs[0]["why"] == "the live store has not answered within 0.05 s"
