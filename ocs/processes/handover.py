"""What a supervisor leaves to the one that goes on in its place, of another build or configuration.

The successor is the same process: `exec` keeps the number, the children and every file that is left open for it. So no
listening socket is closed, and no child notices. What the kernel does not keep is written to a file in memory.

Before that, the same command is started once beside it, on trial: it reads its configuration, checks all that `ocs
check` does and what may not change while sockets and stores are kept, and ends. Nothing has been stopped until then.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from typing import Final, NoReturn

import msgspec

from ocs.config.tree import Config
from ocs.processes.listeners import listeners, shared_listeners

FORMAT: Final = 1
"""Of `LeftBehind`. A field that is appended with a default needs no new one."""
VARIABLE: Final = "SUPERVISOR_LEFT"
"""Names the file that `LeftBehind` is in. Not OCS_*, which are keys of the configuration."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Wait, from before exec until the successor can hear them."""


class ChildLeft(msgspec.Struct, frozen=True):
    role: str
    number: int
    incarnation: int
    pid: int
    channel: int
    """Our end of it: a file, as all numbers of sockets here are."""
    heard: bytes
    """The beginning of a message."""
    status: bytes
    """Its last Status."""
    connections: tuple[int, ...]
    lived_ms: int


class LeftBehind(msgspec.Struct, frozen=True):
    """`trial`: only say whether you would take it."""

    format: int
    trial: bool
    kept: dict[str, str]
    """What may not change, by key of the configuration (`kept`)."""
    lock: int = -1
    run: str = ""
    """Of the registration among the hosts."""
    listeners: dict[str, int] = {}
    shared: dict[str, tuple[int, ...]] = {}
    children: tuple[ChildLeft, ...] = ()
    claims: dict[str, tuple[tuple[int, int], ...]] = {}
    """By Origin-Host: place of a child in `children`, and its connection."""
    last_connection: int = 0
    sums: tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...] = ()
    """Of processes that have ended: metric, labels, values."""


def kept(config: Config) -> dict[str, str]:
    """What stays as it is while processes are replaced one by one: sockets, how many share one, and the stores, because
    one account must not be charged in two of them. Users and passwords may change."""
    found = {
        "data": str(config.data.absolute()),
        "host.name": config.host.name,
        "host.roles": ", ".join(sorted(config.host.roles)),
        "workers": str(config.workers),
        "redis.url": _place(config.redis.url.reveal()),
        "postgres.dsn": _place(config.postgres.dsn.reveal()),
    }
    found |= {key: str(listen) for key, listen in listeners(config).items()}
    for key, (listen, count) in shared_listeners(config).items():
        found[key] = f"{listen} in {count} processes"
    return found


def _place(url: str) -> str:
    """Without user and password."""
    scheme, apart, rest = url.partition("://")
    if not apart:
        return url
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def refusal(left: LeftBehind, config: Config) -> str:
    """Why a server with this configuration cannot go on in the place of the one that left this, "" when it can."""
    if left.format != FORMAT:
        return "this build cannot take over from the one that runs: stop the server and start it again"
    now = kept(config)
    changed = [key for key in sorted({*left.kept, *now}) if left.kept.get(key) != now.get(key)]
    if not changed:
        return ""
    said = "; ".join(f"{key} ({left.kept.get(key) or 'off'} before, now {now.get(key) or 'off'})" for key in changed)
    return f"a rolling restart cannot change {said}: stop the server and start it again"


def found() -> LeftBehind | None:
    """What was left to this process; once."""
    named = os.environ.pop(VARIABLE, "")
    if not named:
        return None
    with os.fdopen(int(named), "rb") as file:
        file.seek(0)
        return msgspec.msgpack.decode(file.read(), type=LeftBehind)


def command() -> list[str]:
    """What this process was started by."""
    return [sys.executable, *sys.orig_argv[1:]]


def written(left: LeftBehind) -> int:
    """The file that holds it, as a child or a successor may read it."""
    file = os.memfd_create("handover")
    os.write(file, msgspec.msgpack.encode(left))
    return file


def hand_over(left: LeftBehind, files: Iterable[int]) -> NoReturn:
    """Become the successor. OSError: that cannot be done, and nothing has changed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    note = written(left)
    kept_open = [note, *files]
    try:
        for file in kept_open:
            os.set_inheritable(file, True)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, command(), {**os.environ, VARIABLE: str(note)})
    except OSError:
        for file in kept_open:
            os.set_inheritable(file, False)
        os.close(note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        raise


def heard_again() -> None:
    """Signals that waited are delivered: whoever took over can hear them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
