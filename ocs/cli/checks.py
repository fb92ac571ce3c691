"""`ocs check`: checks everything that a start needs, without starting."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from balances.redis.links import store_link
from ocs.charging.services import unserved
from ocs.cli.effects import unsafe, without_effect
from ocs.clock import now_ms, skew
from ocs.config.diameter import Diameter
from ocs.config.radius import Radius
from ocs.config.tree import Config
from ocs.config.values import Listen
from ocs.events.webhooks.client import tls_context
from ocs.net.tls import server_context
from ocs.processes.data_lock import is_served
from ocs.processes.embedded import EmbeddedError, find_postgres, find_valkey
from ocs.processes.listeners import CannotListen, bind, bind_shared, listeners, shared_listeners
from ocs.stores.guard import store_troubles
from ocs.stores.postgres_check import lossy_settings_at, postgres_trouble

WAIT_S = 5.0


async def checks(config: Config) -> list[tuple[str, str]]:
    """Pairs: what was checked, and what is wrong with it ("" when nothing is)."""
    return [check async for check in _checks(config)]


async def _checks(config: Config) -> AsyncIterator[tuple[str, str]]:
    yield "configuration", ""
    if gone := unserved(config.charging.table()):
        yield f"charging.services (built-in contexts that nobody serves now: {', '.join(gone)})", ""
    for text in without_effect(config):
        yield f"configuration, without effect: {text}", ""
    for text in unsafe(config):
        yield f"configuration, unsafe: {text}", ""
    yield f"data directory {config.data}", _directory(config.data)
    if not config.redis.embedded:
        trouble = await _redis(config.redis.url.reveal())
        yield "redis.url", trouble
        if not trouble:
            for name, text in await store_troubles(config):
                yield name, text
    else:
        yield "redis (embedded)", _missing(find_valkey)
    if not config.postgres.embedded:
        yield "postgres.dsn", await postgres_trouble(config.postgres.dsn.reveal(), WAIT_S)
        for setting, means in (await lossy_settings_at(config.postgres.dsn.reveal(), WAIT_S)).items():
            yield f"postgres, unsafe: {setting} is off: {means}", ""
    else:
        yield "postgres (embedded)", _missing(find_postgres)
    if config.diameter.speaks_tls:
        yield "diameter.tls_cert, tls_key, tls_ca", _certificates(config.diameter, "diameter")
    if config.radius.radsec_listen:
        yield "radius.tls_cert, tls_key, tls_ca", _certificates(config.radius, "radius")
    if config.webhooks.tls_ca:
        yield "webhooks.tls_ca", _authorities(config.webhooks.tls_ca)
    served = is_served(config.data)
    held = ", held by the server that runs here" if served else ""
    for key, listen in listeners(config).items():
        if listen:
            yield f"{key} {listen}{held}", _port(key, listen, served)
    for key, (listen, _) in shared_listeners(config).items():
        if listen:
            yield f"{key} {listen}{held}", _port(key, listen, served, shared=True)


def _directory(data: Path) -> str:
    """Whether the directory is writable or can be created."""
    place = data.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return f"{place} is not a directory"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written"


def _certificates(of: Diameter | Radius, table: str) -> str:
    try:
        server_context(of.tls_cert, of.tls_key, of.tls_ca, table)
    except CannotListen as why:
        return str(why)
    return ""


def _authorities(ca: str) -> str:
    try:
        tls_context(ca)
    except ValueError as why:
        return str(why).removeprefix("webhooks.tls_ca: ")
    return ""


def _port(key: str, listen: Listen, served: bool, *, shared: bool = False) -> str:
    """Whether a port can be listened on. A server that runs on this data directory holds its own ports."""
    if served:
        return ""
    try:
        if shared:
            bind_shared(key, listen.host, listen.port, 1)[0].close()
        else:
            bind(key, listen.host, listen.port).close()
    except CannotListen as why:
        return str(why).removeprefix(f"{key}: ")
    return ""


def _missing(find: object) -> str:
    assert callable(find)
    try:
        find()
    except EmbeddedError as why:
        return str(why)
    return ""


async def _redis(url: str) -> str:
    """Ungated: whether its history is open is for the keeper to see to."""
    try:
        link = store_link(url, now_ms=now_ms, unfenced=True)
    except ValueError as why:
        return str(why)
    await link.start(WAIT_S)
    trouble = link.why if link.epoch is None else skew("the live store", link.clock_offset_ms)
    await link.stop()
    return trouble
