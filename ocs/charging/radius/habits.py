"""What an address of a client always does is demanded of it from some day on (CVE-2024-3596).

There are two habits. `signed`: its Access-Requests carry Message-Authenticator. `direct`: they carry no Proxy-State
unless they are signed, for it is in Proxy-State that a forger hides what he needs, and a NAS sends none. With both we
become stricter by ourselves, `learn -> warn -> require`, so that nobody has to know beforehand what a NAS sends, and no
NAS is shut out by an upgrade of ours. Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias

SignaturePolicy: TypeAlias = Literal["learn", "require", "check"]
"""`learn`: as its habits are; `require`: demanded from the start; `check`: never."""

KEPT_MIN: Final = 20
"""Requests that agree with a habit before it is demanded: one try of an operator proves nothing."""


class Habit(StrEnum):
    SIGNED = "signed"
    DIRECT = "direct"


class Strictness(StrEnum):
    LEARN = "learn"
    """It does not have the habit."""
    WARN = "warn"
    """It seems to have it: a request without is served, and told of."""
    REQUIRE = "require"
    """A request without is dropped, for ever."""


class HabitRecord(NamedTuple):
    """How an address kept to a habit. Instants in ms, 0: never."""

    kept: int = 0
    """Requests that agree with it ..."""
    since_ms: int = 0
    """... the first one."""
    broken: int = 0
    """Requests that do not ..."""
    broken_ms: int = 0
    """... the last one."""

    def strictness(self, now_ms: int, learn_ms: int) -> Strictness:
        """When it was never demanded before."""
        if not self.kept:
            return Strictness.LEARN
        steady_ms = now_ms - max(self.since_ms, self.broken_ms)
        return Strictness.REQUIRE if self.kept >= KEPT_MIN and steady_ms >= learn_ms else Strictness.WARN


def strictness_of(
    policy: SignaturePolicy, record: HabitRecord, demanded: bool, now_ms: int, learn_ms: int
) -> Strictness:
    """As a person is shown it. demanded: it was once, by `learn`"""
    if policy == "learn":
        return Strictness.REQUIRE if demanded else record.strictness(now_ms, learn_ms)
    return Strictness.REQUIRE if policy == "require" else Strictness.LEARN
