"""The promises in the head of ocs/processes/embedded.py, one test each."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis

from ocs.processes import embedded, mortal
from ocs.processes.embedded import (
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedServer,
    EmbeddedValkey,
    find_postgres,
    find_valkey,
)

pytestmark = pytest.mark.serial

AS_ROOT = os.geteuid() == 0
SLEEPER = Path("/bin/sleep")

Make = Callable[..., EmbeddedServer]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Short, and closed to other users, as a checkout under /root is."""
    path = Path(tempfile.mkdtemp(prefix="ocs-e-"))
    yield path
    shutil.rmtree((path / "postgres").resolve(), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def valkey(data_dir: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(data_dir)
    yield server
    server.kill()


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data_dir)
    yield server
    server.stop()


async def sql(server: EmbeddedPostgres, text: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(text)
    finally:
        await connection.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_valkey_keeps_what_it_confirmed(valkey: EmbeddedValkey, end: str) -> None:
    with redis.Redis.from_url(valkey.start()) as client:
        client.set("kept", "yes")
    getattr(valkey, end)()
    assert not valkey.alive
    with redis.Redis.from_url(valkey.start()) as client:
        assert client.get("kept") == b"yes"


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_postgres_keeps_what_it_committed(postgres: EmbeddedPostgres, end: str) -> None:
    postgres.start()
    await sql(postgres, "CREATE TABLE kept AS SELECT 42 AS n")
    getattr(postgres, end)()
    assert not postgres.alive
    postgres.start()
    assert await sql(postgres, "SELECT n FROM kept") == 42


def test_valkey_never_forgets_to_make_room_and_persists_every_write(valkey: EmbeddedValkey) -> None:
    with redis.Redis.from_url(valkey.start()) as client:
        found = client.config_get("*")
    assert found["maxmemory-policy"] == "noeviction"
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "always"
    assert found["maxmemory"] == str(1 << 30)


def test_options_reach_the_server(data_dir: Path) -> None:
    server = EmbeddedValkey(data_dir, durability="everysec", maxmemory_bytes=64_000_000, hash_max_listpack_value=512)
    with redis.Redis.from_url(server.start()) as client:
        found = client.config_get("appendfsync", "maxmemory", "hash-max-listpack-value")
    server.stop()
    assert found == {"appendfsync": "everysec", "maxmemory": "64000000", "hash-max-listpack-value": "512"}


def test_nobody_else_on_the_machine_may_connect(valkey: EmbeddedValkey, postgres: EmbeddedPostgres) -> None:
    valkey.start()
    postgres.start()
    for home in (valkey.home, postgres.home):
        assert home.stat().st_mode & 0o077 == 0
    assert valkey.socket.stat().st_mode & 0o077 == 0


def test_one_data_directory_serves_one_server(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    valkey.start()
    second = EmbeddedValkey(valkey.home.parent)
    monkeypatch.setattr(EmbeddedServer._lock, "__defaults__", (0.05,))
    with pytest.raises(EmbeddedError, match="in use"):
        second.start()
    assert valkey.alive


def test_a_failed_start_shows_the_servers_own_words(data_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"(?s)valkey ended with 1.*no-such-setting"):
        EmbeddedValkey(data_dir, settings={"no-such-setting": "1"}).start()
    with pytest.raises(EmbeddedError, match=r"(?s)postgres ended with 1.*no_such_setting"):
        EmbeddedPostgres(data_dir, settings={"no_such_setting": "1"}).start()


def test_a_place_that_cannot_be_used_is_an_operators_error(data_dir: Path) -> None:
    (data_dir / "valkey").write_text("a file where the home should be")
    with pytest.raises(EmbeddedError, match="valkey cannot start in"):
        EmbeddedValkey(data_dir).start()


def test_a_deep_checkout_is_no_obstacle(data_dir: Path) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    valkey, postgres = EmbeddedValkey(deep), EmbeddedPostgres(deep)
    try:
        with redis.Redis.from_url(valkey.start()) as client:
            assert client.ping()
        postgres.start()
        short = valkey.socket.parent
        assert short.parent == Path(tempfile.gettempdir())
    finally:
        valkey.stop()
        postgres.stop()
    assert not short.exists()


def test_a_trap_laid_for_the_short_socket_directory_is_refused(data_dir: Path, valkey: EmbeddedValkey) -> None:
    deep = EmbeddedValkey(data_dir / ("d" * 110))
    deep.start()
    short = deep.socket.parent
    deep.stop()
    short.symlink_to(data_dir)
    try:
        with pytest.raises(EmbeddedError, match="belongs to somebody else"):
            deep.start()
    finally:
        short.unlink()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_package_dir", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"install redis-server or valkey-server, or configure redis\.url"):
        find_valkey()


def test_servers_on_path_serve_where_no_wheel_fits(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    monkeypatch.setattr(embedded, "_package_dir", lambda name: None)
    try:
        valkey, postgres = EmbeddedValkey(data_dir, binary=find_valkey()), EmbeddedPostgres(data_dir)
        find_postgres()
    except EmbeddedError as why:
        pytest.skip(str(why))
    try:
        with redis.Redis.from_url(valkey.start()) as client:
            assert client.ping()
        postgres.start()
    finally:
        valkey.stop()
        postgres.stop()


def test_a_pid_that_now_belongs_to_a_stranger_stops_nobody(postgres: EmbeddedPostgres) -> None:
    """A container that was killed and started again hands out the same small numbers to other programs."""
    postgres.start()
    pid_file = postgres.home / "data" / "postmaster.pid"
    before = pid_file.read_text()
    postgres.kill()
    stranger = subprocess.Popen([SLEEPER, "60"])
    try:
        pid_file.write_text(before.replace(before.split("\n", 1)[0], str(stranger.pid), 1))
        postgres.start()
    finally:
        stranger.kill()
        stranger.wait()


def test_one_that_was_killed_and_is_not_reaped_yet_stops_nobody(postgres: EmbeddedPostgres) -> None:
    """The parent of a killed server may take its time; until then the process has a name, and nothing else."""
    postgres.start()
    pid_files = postgres.home / "data" / "postmaster.pid", postgres.home / ".s.PGSQL.5432.lock"
    before = {path: path.read_text() for path in pid_files}
    postgres.kill()
    program = postgres.home / "postgres"
    shutil.copy(SLEEPER, program)
    ended = subprocess.Popen([program, "0"])
    try:
        stat = Path("/proc", str(ended.pid), "stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        for path, text in before.items():
            path.write_text(text.replace(text.split("\n", 1)[0], str(ended.pid), 1))
        postgres.start()
    finally:
        ended.wait()


PARENT = """
import sys, time
from ocs.processes.embedded import EmbeddedPostgres, EmbeddedValkey
valkey, postgres = EmbeddedValkey(sys.argv[1]), EmbeddedPostgres(sys.argv[1])
valkey.start(), postgres.start()
print(valkey.pid, postgres.pid, flush=True)
time.sleep(60)
"""


def test_kill_9_of_the_parent_leaves_nothing_behind(data_dir: Path, valkey: EmbeddedValkey) -> None:
    command = [sys.executable, "-c", PARENT, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(os.getsid(pid) == pid for pid in pids), "Ctrl-C would reach the servers before us"
        parent.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 20
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline_s, [pid for pid in pids if running(pid)]
        time.sleep(0.02)
    valkey.start()  # and the data is free for the next


def running(pid: int) -> bool:
    """Not there, or there only because the init of this container does not collect the dead."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


@pytest.mark.skipif(not AS_ROOT, reason="needs root")
async def test_as_root_without_user_namespaces_another_user_runs_postgres(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embedded, "namespace", lambda: "refused")
    monkeypatch.setattr(embedded, "works", refuse_namespaces(mortal.works))
    postgres.start()
    elsewhere = postgres.home.resolve()
    assert elsewhere.parent == Path("/var/tmp")
    assert postgres.home == elsewhere
    assert str(elsewhere) in capfd.readouterr().err
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
    await sql(postgres, "CREATE TABLE kept AS SELECT 42 AS n")
    postgres.stop()
    postgres.start()
    assert postgres.home.resolve() == elsewhere
    assert await sql(postgres, "SELECT n FROM kept") == 42
    assert capfd.readouterr().err == ""


def refuse_namespaces(works: Callable[..., bool]) -> Callable[..., bool]:
    return lambda who, *rest: who != "refused" and works(who, *rest)
