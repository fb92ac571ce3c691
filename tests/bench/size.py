"""What accounts, sessions and records take up: of a server with so many of each, memory of the live store and of the
keeper, tables and indexes of PostgreSQL, and how long the import and the proof of the ledger took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from balances.ledger.reader import connect
from loadtest.api import Api
from ocs.processes.embedded import EmbeddedPostgres, EmbeddedValkey
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlRequest,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
    UsedServiceUnit,
)
from protocol.diameter.frames import FrameBuffer
from tests.bench.server import BenchServer, running
from tests.ocs.net.world import cer

PIECE: Final = 5_000
IN_FLIGHT: Final = 32
UPDATES: Final = 4
"""Reports of each session that reports, for what a record takes up."""
COPIED_S: Final = 600.0
TARIFF: Final = {
    "tariff": "size",
    "currency": "EUR",
    "rows": [{"name": "data", "when": {"service": "data"}, "flat": {"price": "0.01", "per": "1048576 octets"}}],
}
OF_RECORDS: Final = ("calls", "ledger_entries", "usage_records")
"""Tables that grow with each request; their parts by month are named alike."""
BUSY: Final = 0x20
"""The E bit of an answer: it is asked again."""


class Taken(msgspec.Struct):
    """What is taken up at an instant, octets."""

    store: int
    keeper: int
    database: int
    records: int
    """Of `database` what tables of records have."""


async def measure(accounts: int, sessions: int) -> dict[str, float]:
    """An account with a balance, a subscriber and two identities each."""
    memory = 512 * 2**20 + accounts * 2_000 + sessions * 4_000
    async with running("durability=everysec", f"redis.memory_bytes_max={memory}") as server:
        async with Api(server.url, server.token, connections=2) as api:
            await api.put("v1", "tariffs", "size", body=TARIFF)
            empty = await _taken(server)
            began_s = time.monotonic()
            for first in range(0, accounts, PIECE):
                lines = [_line(number) for number in range(first, min(first + PIECE, accounts))]
                *_, done = await api.post_lines("v1", "import", lines=lines, errors=0)
                assert not done["errors"], done
            import_s = time.monotonic() - began_s
            await _copied(server)
            filled = await _taken(server)
            began_s = time.monotonic()
            await _ask(server, [_request(number, 0) for number in range(sessions)])
            opened_s = time.monotonic() - began_s
            await _copied(server)
            opened = await _taken(server)
            for update in range(1, UPDATES + 1):
                await _ask(server, [_request(number, update) for number in range(sessions)])
            await _copied(server)
            reported = await _taken(server)
            began_s = time.monotonic()
            verified = await api.post("v1", "ledger", "verify", body={})
            verify_s = time.monotonic() - began_s
            assert not verified["findings"], verified
        requests = max(UPDATES * sessions, 1)
        return {
            "accounts": accounts,
            "sessions": sessions,
            "import s": round(import_s, 1),
            "sessions opened s": round(opened_s, 1),
            "verify s": round(verify_s, 1),
            "store, octets per account": (filled.store - empty.store) // accounts,
            "store, octets per session": (opened.store - filled.store) // max(sessions, 1),
            "keeper, octets per session": (opened.keeper - filled.keeper) // max(sessions, 1),
            "PostgreSQL, octets per account": (filled.database - empty.database) // accounts,
            "PostgreSQL, octets per record": (reported.records - opened.records) // requests,
            "store MiB": round(reported.store / 2**20),
            "PostgreSQL MiB": round(reported.database / 2**20),
        }


def _line(number: int) -> dict[str, Any]:
    return {
        "account": {"id": f"m{number:07}", "currency": "EUR", "balance": "20.00"},
        "subscriber": {
            "id": f"s{number:07}",
            "account": f"m{number:07}",
            "identities": [f"msisdn:{_msisdn(number)}", f"imsi:00101{number:010}"],
            "tariffs": [{"tariff": "size"}],
        },
    }


def _msisdn(number: int) -> str:
    return f"4915{number:09}"


def _request(number: int, update: int) -> bytes:
    """The first request of a session, or a report."""
    line = MultipleServicesCreditControl(
        rating_group=10,
        requested_service_unit=RequestedServiceUnit(cc_total_octets=1_048_576),
        used_service_unit=(UsedServiceUnit(cc_total_octets=1_000_000),) if update else (),
    )
    who = SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=_msisdn(number))
    return CreditControlRequest(
        session_id=f"pgw.example.net;1;{number}",
        origin_host="pgw.example.net",
        origin_realm="example.net",
        destination_realm="example.net",
        auth_application_id=4,
        service_context_id="32251@3gpp.org",
        cc_request_type=CcRequestType.UPDATE_REQUEST if update else CcRequestType.INITIAL_REQUEST,
        cc_request_number=update,
        subscription_id=(who,),
        multiple_services_credit_control=(line,),
    ).encode(hop_by_hop=number + 1, end_to_end=number + 1)


async def _ask(server: BenchServer, frames: Sequence[bytes]) -> None:
    """All of them, some at a time; those that are refused for load again."""
    if not frames:
        return
    reader, writer = await asyncio.open_connection("127.0.0.1", server.diameter_port)
    buffer = FrameBuffer()
    writer.write(cer())
    while not buffer.feed(await reader.read(65_536)):
        pass
    waiting, under_way = list(reversed(frames)), dict[bytes, bytes]()
    while waiting or under_way:
        while waiting and len(under_way) < IN_FLIGHT:
            frame = waiting.pop()
            under_way[frame[12:16]] = frame
            writer.write(frame)
        for answer in buffer.feed(await reader.read(1 << 20)):
            frame = under_way.pop(answer[12:16], b"")
            if frame and answer[4] & BUSY:
                waiting.append(frame)
    writer.close()


async def _copied(server: BenchServer) -> None:
    until_s = time.monotonic() + COPIED_S
    while await server.gauge("ocs_ledger_lag_entries") > 0:
        assert time.monotonic() < until_s, "PostgreSQL does not come after"
        await asyncio.sleep(1.0)
    await asyncio.sleep(2.0)


async def _taken(server: BenchServer) -> Taken:
    redis: Any = connect(EmbeddedValkey(server.data).address)
    store = int((await redis.info("memory"))["used_memory"])
    await redis.aclose()
    pg = await asyncpg.connect(EmbeddedPostgres(server.data).address)
    sizes = await pg.fetch(
        "SELECT relname, pg_total_relation_size(oid) AS octets FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    await pg.close()
    of_records = sum(row["octets"] for row in sizes if row["relname"].startswith(OF_RECORDS))
    keeper = int(await server.gauge('ocs_process_resident_memory_bytes{role="keeper"}'))
    return Taken(store, keeper, sum(row["octets"] for row in sizes), of_records)
