"""Log lines: events with fields, JSON for machines."""

import json
import re
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


def test_text_of_a_peer_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "text")
    logger().warning("diameter.refused", peer="a\x1b[31mred", why="\x9b2Jb", session="x\n12:00 [error] forged", n=1)
    shown = capsys.readouterr().err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    assert "\\u001b[31mred" in shown
    assert len(shown.splitlines()) == 1


def test_what_happens_often_is_written_seldom() -> None:
    seldom = Seldom(burst=3, kinds_max=2)
    written = [times for times in (seldom.times("a") for _ in range(1_500)) if times]
    assert written == [1, 2, 3, 10, 100, 1000]
    assert seldom.times("b") == 1
    assert [seldom.times(kind) for kind in ("c", "d", "e", "f")] == [1, 2, 3, 0]
