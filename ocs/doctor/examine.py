"""Everything that `ocs doctor` looks at. It needs no server: what does not answer is a finding, and the rest is looked
at all the same."""

from __future__ import annotations

import asyncio

from ocs.config.tree import Config
from ocs.doctor.database import examine_database
from ocs.doctor.finding import Examined, note
from ocs.doctor.host import examine_host
from ocs.doctor.live_store import examine_live_store
from ocs.doctor.refused import examine_refused
from ocs.doctor.server import examine_server
from ocs.processes.data_lock import is_served
from ocs.processes.embedded import EmbeddedPostgres, EmbeddedValkey

ASLEEP = "the server is down, and with it the stores that it starts itself"


async def examine(config: Config, *, probe: bool = True) -> list[Examined]:
    """probe: measure the disk, by writing a little"""
    found = [
        await asyncio.to_thread(examine_server, config),
        await asyncio.to_thread(examine_host, config, probe=probe),
    ]
    served = is_served(config.data)
    redis = config.redis.url.reveal()
    if config.redis.embedded:
        redis = EmbeddedValkey(config.data).address if served else ""
    if redis:
        found += [await examine_live_store(config, redis), *await examine_refused(config, redis)]
    else:
        found.append(Examined("live store", [note(ASLEEP, "it cannot be looked at", "start the server")]))
    dsn = config.postgres.dsn.reveal()
    if config.postgres.embedded:
        dsn = EmbeddedPostgres(config.data).address if served else ""
    if dsn:
        found.append(await examine_database(dsn))
    else:
        found.append(Examined("PostgreSQL", [note(ASLEEP, "it cannot be looked at", "start the server")]))
    return found
