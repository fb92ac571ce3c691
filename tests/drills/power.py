"""Cuts the power of a live store's host: kill -9, and of its files only what the disk is bound to have is left.

The server runs with power.c preloaded, which notes what each fsync covered and which names are not on the disk yet. A
cut ends the server and then takes from each file of its append-only directory what no fsync covered, and undoes, newest
first, as many of the renames and removals since the last fsync of the directory as chance says.

That is what POSIX promises, and no more. Not modelled: a new file whose directory was never synced (ext4 and XFS keep
its name with its own fsync), a disk that acknowledges what it has not written.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import pytest

from ocs.processes.embedded import EmbeddedValkey

SOURCE: Final = Path(__file__).with_name("power.c")

Tail = Callable[[bytes, Random], bytes]
"""What the disk has of octets that no fsync covered."""


def nothing(_: bytes, __: Random) -> bytes:
    return b""


def some(unsynced: bytes, chance: Random) -> bytes:
    """The first of them, up to anywhere."""
    return unsynced[: chance.randint(0, len(unsynced))]


def zeros(unsynced: bytes, _: Random) -> bytes:
    """The length was written and the content was not."""
    return bytes(len(unsynced))


class PowerCutLeft(NamedTuple):
    """What a cut took."""

    octets: int
    """Of the append-only files."""
    names: int
    """Renames and removals that were undone."""
    synced_ms: int
    """When the last fsync of what calls write began that ended well: what was written before is there."""


class FailingHost:
    """Where a live store runs that loses its power."""

    def __init__(self, home: Path, binary: Path) -> None:
        """Skips the test where nothing can compile C."""
        self.home = home / "power"
        self.home.mkdir()
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: what a power cut leaves cannot be found out")
        library = self.home / "power.so"
        words = [compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(words, check=True, capture_output=True)
        self.server = self.home / "server"
        """Starts the server with our library."""
        preloaded = f"POWER_HOME={shlex.quote(str(self.home))} LD_PRELOAD={shlex.quote(str(library))}"
        self.server.write_text(f'#!/bin/sh\n{preloaded} exec {shlex.quote(str(binary))} "$@"\n')
        self.server.chmod(0o700)

    def cut(self, store: EmbeddedValkey, chance: Random, tail: Tail = nothing) -> PowerCutLeft:
        """Now. The store can be started again on what is left."""
        store.kill()
        directory = store.home / "data" / "appendonlydir"
        sizes: dict[int, int] = {}
        times: dict[int, int] = {}
        pending: list[list[str]] = []
        for line in (self.home / "journal").read_text().splitlines():
            kind, *words = line.split("\t")
            if kind == "S":
                inode, size, at_ms = map(int, words)
                sizes[inode], times[inode] = size, at_ms
            elif kind == "D":
                pending = [one for one in pending if Path(one[-2]).parent != Path(words[0])]
            elif Path(words[-2]).parent == directory:
                pending.append([kind, *words])
        undone = pending[len(pending) - chance.randint(0, len(pending)) :]
        for one in reversed(undone):
            _undo(*one)
        octets = synced_ms = 0
        journal = ""
        for path in directory.iterdir():
            inode = path.stat().st_ino
            octets += _leave(path, sizes.get(inode, 0), chance, tail)
            if path.name.endswith(".incr.aof"):
                synced_ms = max(synced_ms, times.get(inode, 0))
            # What is there at a start is on the disk.
            journal += f"S\t{inode}\t{path.stat().st_size}\t{times.get(inode, 0)}\n"
        (self.home / "journal").write_text(journal)
        return PowerCutLeft(octets, len(undone), synced_ms)


def _undo(kind: str, *words: str) -> None:
    *old, name, kept = words
    if kind == "R" and Path(old[0]).exists():
        return  # it had not happened yet
    if old:
        with contextlib.suppress(FileNotFoundError):
            Path(name).rename(old[0])
    if kept != "-" and not Path(name).exists():
        os.link(kept, name)


def _leave(path: Path, synced: int, chance: Random, tail: Tail) -> int:
    """How many octets were taken."""
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= synced:
            return 0
        file.seek(synced)
        left = tail(file.read(), chance)
        file.truncate(synced)
        file.seek(synced)
        file.write(left)
        return size - synced - len(left)
