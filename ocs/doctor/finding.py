"""What `ocs doctor` found: how bad, what it means, what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec


class Severity(IntEnum):
    ERROR = 2
    """It does not serve, or may lose money."""
    WARNING = 1
    """It serves, and should be looked at."""
    NOTE = 0

    @property
    def word(self) -> str:
        return self.name.lower()


class DoctorFinding(msgspec.Struct, frozen=True):
    severity: Severity
    what: str
    """What is so, with its numbers."""
    means: str
    do: str
    runbook: str = ""
    """Section of docs/runbook.md."""


class Examined(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    findings: list[DoctorFinding] = []
    facts: list[str] = []
    """What was measured, when nothing is wrong with it too."""


def worst_first(examined: Iterable[Examined]) -> list[tuple[str, DoctorFinding]]:
    """With what each is about."""
    found = [(one.name, finding) for one in examined for finding in one.findings]
    return sorted(found, key=lambda pair: (-pair[1].severity, pair[0]))


def error(what: str, means: str, do: str, runbook: str = "") -> DoctorFinding:
    return DoctorFinding(Severity.ERROR, what, means, do, runbook)


def warning(what: str, means: str, do: str, runbook: str = "") -> DoctorFinding:
    return DoctorFinding(Severity.WARNING, what, means, do, runbook)


def note(what: str, means: str, do: str, runbook: str = "") -> DoctorFinding:
    return DoctorFinding(Severity.NOTE, what, means, do, runbook)
