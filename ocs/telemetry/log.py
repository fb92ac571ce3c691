"""Logging by events: `log.info("diameter.peer_up", peer=..., address=...)`. The event is a fixed name, what varies are
fields, so that a machine can count and a person can read. JSON lines, or text where a person is watching.

There is never a line per request: what happens often is counted (metrics.py). `Seldom` keeps a hostile or broken peer
from filling a disk with its mistakes.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import structlog

from ocs.telemetry.visible import visible

Log = structlog.typing.FilteringBoundLogger


def setup(level: str, style: Literal["auto", "json", "text"], **fields: str | int) -> None:
    """Once per process. `fields` stand in every line of it: role, number."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if text else "iso", utc=not text, key="at")
    if text:
        last: list[structlog.typing.Processor] = [
            _visibly,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                timestamp_key="at",
                pad_event_to=24,
                exception_formatter=structlog.dev.plain_traceback,  # others show locals, and with them secrets
            ),
        ]
        factory: Callable[..., Any] = structlog.PrintLoggerFactory(sys.stderr)
    else:
        last = [structlog.processors.format_exc_info, _to_json]
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=[
            lambda _logger, _method, event: {**fields, **event},
            structlog.processors.add_log_level,
            stamp,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )


def logger() -> Log:
    log: Log = structlog.get_logger()
    return log


def _visibly(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Make control characters visible: names come from peers, and a terminal would interpret them."""
    return {name: visible(value) if isinstance(value, str) else value for name, value in event.items()}


def _to_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> bytes:
    at, name = event.pop("at"), event.pop("event")
    return msgspec.json.encode({"at": at, "event": name, **event}, enc_hook=str)


class Seldom:
    """Lets the first `burst` lines of a kind through and then one of each power of ten, with the number so far."""

    def __init__(self, burst: int = 10, kinds_max: int = 1_000) -> None:
        self._burst = burst
        self._kinds_max = kinds_max
        self._seen: dict[object, int] = {}

    def times(self, kind: object) -> int:
        """How often this kind was seen, or 0 when it is not to be written now."""
        if kind not in self._seen and len(self._seen) >= self._kinds_max:
            kind = None
        count = self._seen[kind] = self._seen.get(kind, 0) + 1
        return count if count <= self._burst or str(count).strip("0") == "1" else 0


class Periodic:
    """Lets one line of a kind through in each interval, with the number since the one before. Kinds come from tables
    of ours."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._told: dict[object, tuple[int, int]] = {}
        """When it was told last, and how often it was seen since."""

    def times(self, kind: object, now_ms: int) -> int:
        """How often this kind was seen since it was told last, or 0 when it is not to be told now."""
        told_ms, since = self._told.get(kind, (now_ms - self._every_ms, 0))
        if now_ms - told_ms < self._every_ms:
            self._told[kind] = told_ms, since + 1
            return 0
        self._told[kind] = now_ms, 0
        return since + 1
