"""The embedded stores of one `ocs run`: started unless others are configured, restarted when they end, stopped."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from ocs.clock import monotonic_ms
from ocs.config.tree import Config
from ocs.config.values import Secret
from ocs.master.sealing import with_key
from ocs.master.voucher_keys import with_voucher_key
from ocs.processes.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedValkey
from ocs.telemetry.log import logger

REVIVE_S: Final = 2.0
"""Between attempts to start a store that died again."""
STEADY_MS: Final = 5_000
"""A store that lived so long is well."""
DISK_BYTES_MIN: Final = 1 << 20
"""With less than this no store can go on."""

Embedded = EmbeddedValkey | EmbeddedPostgres


class EmbeddedStores:
    def __init__(self) -> None:
        self.trouble = ""
        """Why one of them is not well, "" when they are."""
        # The kernel tells a store of the death of the *thread* that started it: these live as long as we do.
        self._threads = ThreadPoolExecutor(2, "store")
        self._stores: list[Embedded] = []
        self._reviving: set[asyncio.Task[None]] = set()
        self._revive_in_s = 0.0
        self._restarted_ms = 0

    @property
    def embedded(self) -> bool:
        """Whether there are any."""
        return bool(self._stores)

    async def start(self, config: Config) -> Config:
        """Start the stores that are not configured, and enter their addresses into the configuration. Raises
        EmbeddedError with what is wrong with any of them."""
        loop = asyncio.get_running_loop()
        starting: dict[str, asyncio.Future[str]] = {}
        if config.redis.embedded:
            valkey = EmbeddedValkey(
                config.data,
                durability="always" if config.durability == "always" else "everysec",
                maxmemory_bytes=config.redis.memory_bytes_max,
            )
            self._stores.append(valkey)
            starting["redis"] = loop.run_in_executor(self._threads, valkey.start)
        if config.postgres.embedded:
            postgres = EmbeddedPostgres(config.data, nice=config.ledger.nice)
            self._stores.append(postgres)
            starting["postgres"] = loop.run_in_executor(self._threads, postgres.start)
        await asyncio.wait(starting.values()) if starting else None
        troubles = [why for start in starting.values() if (why := start.exception()) is not None]
        if troubles:
            raise EmbeddedError("; ".join(str(why) for why in troubles)) from troubles[0]
        if "redis" in starting:
            redis = msgspec.structs.replace(config.redis, url=Secret(await starting["redis"]))
            config = msgspec.structs.replace(config, redis=redis)
        if "postgres" in starting:
            postgres_part = msgspec.structs.replace(config.postgres, dsn=Secret(await starting["postgres"]))
            config = msgspec.structs.replace(with_voucher_key(with_key(config)), postgres=postgres_part)
        return config

    def mind(self) -> None:
        """Called at an interval: restart a store that has ended, on its data. The keeper then checks what it still
        has."""
        if self._reviving:
            return
        if self.trouble and monotonic_ms() - self._restarted_ms > STEADY_MS:
            self.trouble, self._revive_in_s = "", 0.0
        for store in self._stores:
            if not store.alive:
                task = asyncio.ensure_future(self._revive(store))
                self._reviving.add(task)
                task.add_done_callback(self._reviving.discard)

    async def _revive(self, store: Embedded) -> None:
        why_dead = last_words(store.home)
        self.trouble = f"{store.name} died: {why_dead}"
        logger().error("store.died", store=store.name, why=why_dead)
        await asyncio.sleep(self._revive_in_s)
        self._revive_in_s = REVIVE_S  # what dies again at once, because the disk is full, is not started all the time
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, _start_again, store)
        except EmbeddedError as why:
            logger().error("store.not_restarted", store=store.name, why=f"{why}\n{last_words(store.home)}")
        else:
            logger().warning("store.restarted", store=store.name)
            self._restarted_ms = monotonic_ms()

    async def stop(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*self._reviving)
        for store in self._stores:
            try:
                await loop.run_in_executor(self._threads, store.stop)
            except EmbeddedError as why:
                logger().error("store.stop_failed", why=str(why))
        self._threads.shutdown()


def _start_again(store: Embedded) -> None:
    store.kill()  # and what is left of it: its lock, its other processes
    store.start()


def last_words(home: Path) -> str:
    """The last line of the log in a store's directory; or that the disk is full, which the log could not record."""
    try:
        if shutil.disk_usage(home).free < DISK_BYTES_MIN:
            return f"the disk is full: nothing can be written to {home}"
        lines = (home / "log").read_bytes()[-2_000:].decode(errors="replace").split("\n")
    except OSError as why:
        return str(why)
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
