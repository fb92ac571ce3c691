"""Which build of this software a process runs: its name, which stored formats it reads, which libraries it uses.

A child is a fresh interpreter: once other files are installed, a child that is started again is of another build than
its supervisor. So each says itself what it is.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from balances.redis.scripts import LIBRARIES
from balances.structs.blob import READS

PACKAGES: Final = ("balances", "ocs", "protocol", "tariffs")
SOURCES: Final = (".py", ".lua", ".sql")


class Build(NamedTuple):
    name: str
    """`0.4.0+5f2c91aa`: the version, and a digest of all sources."""
    reads_from: int
    reads_to: int
    libraries: tuple[str, ...]


def package_version() -> str:
    try:
        return version("ocs")
    except PackageNotFoundError:
        return "unknown"


@cache
def this_build() -> Build:
    digest = hashlib.blake2b(digest_size=4)
    for package in PACKAGES:
        _add(digest, files(package))
    libraries = tuple(sorted(library.name for library in LIBRARIES.values()))
    return Build(f"{package_version()}+{digest.hexdigest()}", READS[0], READS[-1], libraries)


def _add(digest: hashlib.blake2b, folder: Traversable) -> None:
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            _add(digest, one)
        elif one.name.endswith(SOURCES):
            digest.update(one.read_bytes())
