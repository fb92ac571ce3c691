"""What a rolling restart may change of the configuration, and how a process is taken over by who did not start it."""

import subprocess
import sys

import msgspec
import pytest

from ocs.config.load import load
from ocs.config.tree import Config
from ocs.processes.child_process import Adopted
from ocs.processes.handover import FORMAT, LeftBehind, kept, refusal

BEFORE = (
    "redis.url=redis://ocs:one@store:6379/0",
    "postgres.dsn=postgresql://ocs:one@db/ocs",
    "workers=2",
    "http.listen=127.0.0.1:8080",
)


def configured(*settings: str) -> Config:
    return load(None, (*BEFORE, *settings), environ={})


LEFT = LeftBehind(FORMAT, True, kept(configured()))


@pytest.mark.parametrize(
    "setting",
    [
        "charging.validity_s=60",
        "diameter.drain_s=1",
        "diameter.origin_realm=other.example.net",
        "redis.url=redis://ocs:two@store:6379/0",
        "postgres.dsn=postgresql://another:two@db/ocs",
        "log.level=debug",
    ],
)
def test_what_keeps_sockets_and_stores_may_change(setting: str) -> None:
    assert refusal(LEFT, configured(setting)) == ""


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("workers=3", "workers (2 before, now 3)"),
        ("http.listen=127.0.0.1:8081", "http.listen (127.0.0.1:8080 in 1 processes before"),
        ("http.processes=2", "http.listen"),
        ("diameter.listen=off", "diameter.listen"),
        ("metrics.listen=off", "metrics.listen (127.0.0.1:9464 before, now off)"),
        ("redis.url=redis://ocs:one@store:6380/0", "redis.url"),
        ("redis.url=redis://ocs:one@store:6379/1", "redis.url"),
        ("redis.url=embedded", "redis.url"),
        ("postgres.dsn=postgresql://ocs:one@db/other", "postgres.dsn"),
        ('host.roles=["worker"]', "host.roles"),
        ("host.name=b", "host.name (off before, now b)"),
    ],
)
def test_what_would_close_sockets_or_charge_in_two_stores_is_refused(setting: str, key: str) -> None:
    why = refusal(LEFT, configured(setting))
    assert key in why
    assert "one@" not in why, "no password"


def test_clients_of_radius_bring_sockets_and_are_refused() -> None:
    client = 'radius.clients=[{address="192.0.2.1", secret="0123456789abcdef", group="bras", service="data"}]'
    assert "radius.auth_listen (off before" in refusal(LEFT, configured(client))


def test_another_form_of_what_is_left_is_refused() -> None:
    assert "cannot take over" in refusal(msgspec.structs.replace(LEFT, format=FORMAT + 1), configured())


def test_an_adopted_process_is_waited_for_once() -> None:
    with subprocess.Popen([sys.executable, "-c", "input(); raise SystemExit(7)"], stdin=subprocess.PIPE) as started:
        adopted = Adopted(started.pid)
        assert adopted.poll() is None
        assert started.stdin is not None
        started.stdin.write(b"\n")
        started.stdin.close()
        assert adopted.wait() == 7
        assert adopted.poll() == 7
        started.returncode = 7
