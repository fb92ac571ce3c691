"""The machine: limits, memory, disks, and how long it takes until something is on disk."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ocs.clock import monotonic_us
from ocs.config.tree import Config
from ocs.doctor.finding import DoctorFinding, Examined, Severity, error, warning

FILES_MIN: Final = 4_096
"""Open files of a process: a connection each, and some."""
BACKLOG_MIN: Final = 1_024
FREE_PERCENT_ERROR: Final = 5
FREE_PERCENT_WARNING: Final = 15
PROBES: Final = 40
PROBE_S_MAX: Final = 3.0
PROBE_OCTETS: Final = 4_096
FSYNC_WARNING_US: Final = 5_000
"""With `durability = always` every answer waits for one: at 5 ms a store serves no more than its batches hold."""
FSYNC_ERROR_US: Final = 50_000

PROC: Final = Path("/proc/sys")
HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def examine_host(config: Config, *, probe: bool = True) -> Examined:
    """probe: measure the disk of the data directory, by writing some octets into a file that is removed"""
    facts: list[str] = []
    findings = [*_limits(facts), *_kernel(facts, config), *_disk(config.data, facts)]
    if probe:
        findings += _fsync(config, facts)
    return Examined("host", findings, facts)


def _limits(facts: list[str]) -> Iterator[DoctorFinding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    facts.append(f"open files {soft} (at most {hard})")
    if soft < FILES_MIN:
        yield warning(
            f"a process may open {soft} files",
            "each connection of a peer is one: those beyond are refused",
            f"LimitNOFILE=65536 in the unit of systemd, or `ulimit -n {max(FILES_MIN, 65_536)}` before `ocs run`",
        )


def _kernel(facts: list[str], config: Config) -> Iterator[DoctorFinding]:
    backlog = _number(PROC / "net/core/somaxconn")
    if backlog is not None:
        facts.append(f"somaxconn {backlog}")
        if backlog < BACKLOG_MIN:
            yield warning(
                f"net.core.somaxconn is {backlog}",
                "when all peers come back at once, connections beyond it are dropped and come again seconds later",
                f"sysctl -w net.core.somaxconn={BACKLOG_MIN}, and in /etc/sysctl.d",
            )
    if not config.redis.embedded:
        return  # the live store is on another host, or is looked after by somebody else
    overcommit = _number(PROC / "vm/overcommit_memory")
    if overcommit is not None:
        facts.append(f"overcommit_memory {overcommit}")
        if overcommit == 2:  # 0 refuses only what is absurd
            yield warning(
                "vm.overcommit_memory is 2",
                "the live store forks to rewrite its append-only file: where its memory is more than half of the"
                " machine's, that fails, and the file grows without end",
                "sysctl -w vm.overcommit_memory=1, and in /etc/sysctl.d",
                "OcsStoreMemory",
            )
    try:
        chosen = HUGE_PAGES.read_text()
    except OSError:
        return
    word = chosen.partition("[")[2].partition("]")[0]
    facts.append(f"transparent huge pages {word}")
    if word == "always":
        yield warning(
            "transparent huge pages are `always`",
            "while the live store rewrites its file, each small change copies two megabytes: answers come late",
            f"echo madvise > {HUGE_PAGES}, at each start",
            "OcsSlow",
        )


def _disk(data: Path, facts: list[str]) -> Iterator[DoctorFinding]:
    place = data.absolute()
    while not place.exists():
        place = place.parent
    try:
        usage = shutil.disk_usage(place)
    except OSError as why:
        yield error(f"{place}: {why.strerror}", "nothing can be kept there", "mend the mount")
        return
    percent = 100 * usage.free // max(usage.total, 1)
    facts.append(f"{place} has {usage.free / 2**30:.1f} GiB free ({percent} %)")
    if percent >= FREE_PERCENT_WARNING:
        return
    severity = Severity.ERROR if percent < FREE_PERCENT_ERROR else Severity.WARNING
    yield DoctorFinding(
        severity,
        f"{place} has {usage.free / 2**30:.1f} GiB free, {percent} %",
        "when it is full neither store can write: nothing is answered any more",
        "make room, or give it a larger disk; delete no file of a store by hand",
        "OcsDiskFull",
    )


def _fsync(config: Config, facts: list[str]) -> Iterator[DoctorFinding]:
    if not config.data.is_dir():
        return
    try:
        times = measured_us(config.data)
    except OSError as why:
        yield error(
            f"nothing can be written to {config.data}: {why.strerror}", "a server cannot start there", "mend it"
        )
        return
    middle, slowest = times[len(times) // 2], times[-1]
    facts.append(
        f"fsync of {config.data}: {middle / 1_000:.2f} ms, the slowest of {len(times)} {slowest / 1_000:.1f} ms"
    )
    if middle < FSYNC_WARNING_US or config.durability != "always":
        return
    severity = Severity.ERROR if middle >= FSYNC_ERROR_US else Severity.WARNING
    yield DoctorFinding(
        severity,
        f"half of the writes to {config.data} take longer than {middle / 1_000:.1f} ms to be on disk",
        "durability is `always`: every answer waits for that, and the more come at once the longer",
        "put the append-only file of the live store on a disk with a write cache that survives a power cut",
        "OcsStoreCallsLost",
    )


def measured_us(directory: Path) -> list[int]:
    """How long writes took until they were on disk there, the fastest first. Takes PROBE_S_MAX at most."""
    times: list[int] = []
    began_us = monotonic_us()
    with tempfile.TemporaryFile(dir=directory) as file:
        while len(times) < PROBES and monotonic_us() - began_us < PROBE_S_MAX * 1_000_000:
            file.write(bytes(PROBE_OCTETS))
            file.flush()
            at_us = monotonic_us()
            os.fdatasync(file.fileno())
            times.append(monotonic_us() - at_us)
    return sorted(times)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
