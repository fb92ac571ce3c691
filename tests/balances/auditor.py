"""Helpers of test_concurrency: an auditor that checks the store while workers run, and a proxy that loses replies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from balances import keys
from balances.packing import ACCOUNT_FIELD, fresh_account, stored_account
from balances.redis.pending import ended
from balances.structs.account import MAIN, Account
from balances.structs.record import Record
from balances.structs.session import Session
from tests.balances.twins import check_account

_encode = msgspec.msgpack.encode


class LedgerCopy:
    """What an auditor reads, past all workers."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def open(self, *accounts: str, money: int = 1_000_000) -> None:
        """Accounts with money in them, brought in by a worker of the oldest epoch."""
        for name in accounts:
            account = fresh_account(name, "EUR")
            account.buckets[0].amount = money
            await self.client.hset(keys.account(name), ACCOUNT_FIELD, _encode(account))

    async def account(self, name: str) -> Account:
        return msgspec.msgpack.decode(await self.client.hget(keys.account(name), ACCOUNT_FIELD), type=Account)

    async def money(self, name: str) -> tuple[int, int]:
        main = (await self.account(name)).buckets[0]
        return main.amount, main.held

    async def records(self, name: str) -> list[tuple[str, Record]]:
        """(epoch, record) of an account in the order they were made."""
        found = []
        for at, fields in await self.client.xrange(keys.ledger(keys.shard_of(name))):
            record = msgspec.msgpack.decode(fields[b"r"], type=Record)
            if record.account == name:
                found.append((at.decode().partition("-")[0], record))
        return found

    async def audit(self, name: str) -> None:
        """Held is the sum of live holds; the records chain up to the account; none was made twice."""
        # Of one instant: a call that is Lost may still be executed.
        stored = stored_account(await self.client.hgetall(keys.account(name)))
        assert stored.account is not None
        account = msgspec.msgpack.decode(stored.account, type=Account)
        check_account(account, [msgspec.msgpack.decode(one, type=Session) for one in stored.sessions.values()])
        records = [record for _, record in await self.records(name)]
        entries = [entry for record in records for entry in record.entries]
        assert [entry.seq for entry in entries] == [*range(1, account.seq + 1)]
        mains = [entry for entry in entries if entry.bucket == MAIN]
        if mains:
            assert mains[-1].after == account.buckets[0].amount
            assert mains[-1].after == mains[0].after - mains[0].amount + sum(entry.amount for entry in mains)
        named = [(record.session, record.key) for record in records if record.key]
        assert len(named) == len(set(named))


class Tap:
    """Stands between a worker and the server. `lose`: of how many connections the first reply to a script is lost."""

    def __init__(self, server: str) -> None:
        self.server, self.lose, self.seen = server, 0, 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, path: Path) -> str:
        self._server = await asyncio.start_unix_server(self._accept, path)
        return f"unix://{path}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_unix_connection(self.server)
        asked = asyncio.Event()

        async def forth() -> None:
            while data := await reader.read(65_536):
                if self.lose and not asked.is_set() and b"FCALL" in data:
                    self.lose -= 1
                    asked.set()
                self.seen += data.count(b"FCALL")
                here.write(data)

        async def back() -> None:
            while (data := await there.read(65_536)) and not asked.is_set():
                writer.write(data)

        tasks = [asyncio.create_task(forth()), asyncio.create_task(back())]
        self._tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        here.close()
        writer.close()

    async def close(self) -> None:
        self._server.close()
        await ended(self._tasks)
