"""The hosts that work on one store, in PostgreSQL: each run of `ocs run` has a row and a lease, and leaves by itself
when that has run out (docs/operations/hosts.md).

In PostgreSQL, and not in the live store, because the format that is stored is decided there: joining and the step to a
newer format lock one row, so no host that cannot read a format joins while it comes to be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from balances.ledger.formats import Reads, refusal_of

BEAT_S: Final = 2.0
"""How often a host says that it is there."""
LEASE_S: Final = 10
"""A host that has not said so for this long is lost."""
LISTED_S: Final = 600
"""How long one that is lost is listed."""
RESTARTS: Final = 0x0C5_0043
"""Advisory lock: whether another host is restarting is asked by one at a time."""


class HostRefused(Exception):
    """This build may not work on that store; the text is meant for the operator."""


class HostProcess(msgspec.Struct, frozen=True):
    role: str
    number: int
    ready: bool
    why: str
    build: str
    catalog: int = 0
    """Version of the tariffs that it prices by; 0: it does not price, or has none yet."""


class HostState(msgspec.Struct, frozen=True):
    """What a host says of itself, beside what the step to another format depends on."""

    roles: tuple[str, ...]
    build: str
    ready: bool
    why: str
    """Why it is not ready."""
    http: str
    """Address of its API, "" without one."""
    processes: tuple[HostProcess, ...] = ()
    peers: tuple[str, ...] = ()
    """Origin-Hosts that are connected."""
    clients: tuple[str, ...] = ()
    """RADIUS clients that were heard in this run, by their names in the configuration."""


class HostRow(NamedTuple):
    run: str
    name: str
    since: datetime
    lost_s: int
    """For how long its lease has run out; 0: it has not."""
    left: bool
    """It stopped in good order."""
    reads: Reads
    libraries: frozenset[str]
    state: HostState
    restart: Literal["", "asked", "begun"]
    restart_said: str

    @property
    def alive(self) -> bool:
        return self.lost_s == 0 and not self.left


class Beat(NamedTuple):
    """What a host hears when it says that it is there."""

    restart: bool
    """A person wishes that it restarts, and no other host does."""


async def beat(pg: Any, run: str, name: str, reads: Reads, libraries: Sequence[str], state: HostState) -> Beat:
    """Join, or say that this host is still there. HostRefused: it cannot read what is stored. pg: a connection"""
    async with pg.transaction():
        # Shared with all who join, and waited for by the step to another format.
        store = await pg.fetchrow("SELECT format, next_format FROM store FOR SHARE")
        asked = False
        refused = refusal_of(reads, store["format"], store["next_format"])
        if refused:
            await pg.execute("DELETE FROM hosts WHERE run = $1", run)
        else:
            asked = await pg.fetchval(
                "INSERT INTO hosts (run, name, until_at, reads_from, reads_to, libraries, told)"
                " VALUES ($1, $2, now() + $3 * interval '1 second', $4, $5, $6, $7)"
                " ON CONFLICT (run) DO UPDATE SET until_at = excluded.until_at, left_at = NULL,"
                " reads_from = excluded.reads_from, reads_to = excluded.reads_to, libraries = excluded.libraries,"
                " told = excluded.told"
                " RETURNING restart_asked_at IS NOT NULL AND restart_began_at IS NULL",
                run,
                name,
                LEASE_S,
                *reads,
                list(libraries),
                msgspec.json.encode(state).decode(),
            )
            await pg.execute(
                "DELETE FROM hosts WHERE run <> $1 AND until_at < now() - $2 * interval '1 second'", run, LISTED_S
            )
    if refused:
        raise HostRefused(refused)
    return Beat(bool(asked) and await _may_restart(pg, run))


async def leave(pg: Any, run: str) -> None:
    """In good order: nobody has to wait for its lease. Which libraries it used is known a while longer."""
    await pg.execute("UPDATE hosts SET until_at = now(), left_at = now() WHERE run = $1", run)


async def listed(pool: Any) -> list[HostRow]:
    """All hosts, by name, with those of the last minutes that are lost or have left."""
    rows = await pool.fetch(
        "SELECT run, name, since, ceil(extract(epoch FROM greatest(now() - until_at, interval '0')))::int AS lost_s,"
        " left_at, reads_from, reads_to, libraries, told, restart_asked_at, restart_began_at, restart_said"
        " FROM hosts ORDER BY name, since"
    )
    return [
        HostRow(
            row["run"],
            row["name"],
            row["since"],
            row["lost_s"],
            row["left_at"] is not None,
            Reads(row["reads_from"], row["reads_to"]),
            frozenset(row["libraries"]),
            msgspec.json.decode(row["told"], type=HostState),
            "begun" if row["restart_began_at"] else "asked" if row["restart_asked_at"] else "",
            row["restart_said"] or "",
        )
        for row in rows
    ]


# --- rolling restarts


async def ask_restart(pool: Any, names: Sequence[str]) -> list[str]:
    """Wish that these hosts restart, all of them where none is named; returns which will."""
    rows = await pool.fetch(
        "UPDATE hosts SET restart_asked_at = COALESCE(restart_asked_at, now()), restart_said = NULL"
        " WHERE until_at > now() AND (cardinality($1::text[]) = 0 OR name = ANY ($1)) RETURNING name",
        list(names),
    )
    return sorted(row["name"] for row in rows)


async def _may_restart(pg: Any, run: str) -> bool:
    """One host at a time, those that were asked first before others."""
    async with pg.transaction():
        await pg.execute("SELECT pg_advisory_xact_lock($1)", RESTARTS)
        done = await pg.execute(
            "UPDATE hosts SET restart_began_at = now() WHERE run = $1 AND NOT EXISTS"
            " (SELECT FROM hosts other WHERE other.restart_began_at IS NOT NULL AND other.until_at > now())",
            run,
        )
    return bool(done == "UPDATE 1")


async def end_restart(pg: Any, run: str, said: str) -> None:
    """said: what came of it"""
    await pg.execute(
        "UPDATE hosts SET restart_asked_at = NULL, restart_began_at = NULL, restart_said = $2 WHERE run = $1", run, said
    )


async def give_up_restarts(pg: Any) -> None:
    """A host failed at it: the others, which were asked at the same time, stay as they are."""
    await pg.execute("UPDATE hosts SET restart_asked_at = NULL WHERE restart_began_at IS NULL")
