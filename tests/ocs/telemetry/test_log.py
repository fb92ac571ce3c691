"""Log lines: events with fields, JSON for machines."""

import json
import sys

import pytest

from ocs.telemetry.log import Seldom, logger, setup


def test_json_lines(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    setup("info", "json", role="worker", number=3)
    logger().info("diameter.peer_up", peer="pgw.example.net", address=("127.0.0.1", 3868))
    logger().debug("not.shown")
    sys.stderr.flush()
    (line,) = capfdbinary.readouterr().err.splitlines()
    found = json.loads(line)
    assert found.pop("at").endswith("Z")
    assert found == {
        "event": "diameter.peer_up",
        "level": "info",
        "peer": "pgw.example.net",
        "address": ["127.0.0.1", 3868],
        "role": "worker",
        "number": 3,
    }


def test_exceptions_are_fields(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    setup("info", "json", role="worker")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger().exception("child.failed", problem=ValueError("x"))
    sys.stderr.flush()
    found = json.loads(capfdbinary.readouterr().err)
    assert "ZeroDivisionError" in found["exception"]
    assert found["problem"] == "x"


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    setup("debug", "text", role="worker")
    logger().warning("diameter.refused", why="unknown peer")
    assert "diameter.refused" in capsys.readouterr().err


def test_what_happens_often_is_written_seldom() -> None:
    seldom = Seldom(burst=3, kinds_max=2)
    written = [times for times in (seldom.times("a") for _ in range(1_500)) if times]
    assert written == [1, 2, 3, 10, 100, 1000]
    assert seldom.times("b") == 1
    assert [seldom.times(kind) for kind in ("c", "d", "e", "f")] == [1, 2, 3, 0]
