"""What `ocs doctor` finds, with nothing running and with stores that may lose money."""

import json
import resource
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from balances.ledger.reader import connect
from ocs.cli.root import cli
from ocs.clock import now_ms
from ocs.config.tree import Config
from ocs.doctor import host
from ocs.doctor.database import examine_database
from ocs.doctor.finding import Examined, Severity, error, note, warning, worst_first
from ocs.doctor.host import examine_host, measured_us
from ocs.doctor.live_store import examine_live_store
from ocs.doctor.server import NUMBERS, judged, samples
from tests.servers import ROOT


def texts(examined: Examined, severity: Severity) -> str:
    return "\n".join(one.what for one in examined.findings if one.severity is severity)


def test_the_worst_comes_first() -> None:
    found = [Examined("b", [note("n", "", ""), error("e", "", "")]), Examined("a", [warning("w", "", "")])]
    assert [one.what for _, one in worst_first(found)] == ["e", "w", "n"]


def test_a_server_that_is_down_is_an_error_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["doctor", "--data", str(tmp_path), "--json"])
    assert done.exit_code == 2
    answer = json.loads(done.stdout)
    assert answer["findings"][0]["runbook"] == "OcsDown"
    assert any("fsync" in fact for fact in answer["examined"]["host"])
    assert answer["examined"]["live store"] == []


def test_stores_that_do_not_answer_are_errors(tmp_path: Path) -> None:
    settings = ["--set", "redis.url=redis://127.0.0.1:1/0", "--set", "postgres.dsn=postgresql://127.0.0.1:1/x"]
    done = CliRunner().invoke(cli, ["doctor", "--data", str(tmp_path), "--no-probe", *settings])
    assert done.exit_code == 2
    assert "error: live store: it does not answer" in done.stdout
    assert "error: PostgreSQL: it does not answer" in done.stdout
    assert "OcsUnanswered" in done.stdout


def test_limits_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net/core").mkdir(parents=True)
    (tmp_path / "vm").mkdir()
    (tmp_path / "net/core/somaxconn").write_text("128\n")
    (tmp_path / "vm/overcommit_memory").write_text("2\n")
    (tmp_path / "pages").write_text("[always] madvise never\n")
    monkeypatch.setattr(host, "PROC", tmp_path)
    monkeypatch.setattr(host, "HUGE_PAGES", tmp_path / "pages")
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1_024, 4_096))
    monkeypatch.setattr("shutil.disk_usage", lambda _place: _usage(100, 4))
    found = examine_host(Config(data=tmp_path), probe=False)
    said = texts(found, Severity.WARNING)
    for part in ("1024 files", "somaxconn is 128", "overcommit_memory is 2", "pages are `always`"):
        assert part in said
    assert "4 %" in texts(found, Severity.ERROR)


def _usage(total: int, free: int) -> Any:
    return type("Usage", (), {"total": total, "free": free, "used": total - free})


def test_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < len(measured_us(tmp_path)) <= host.PROBES
    assert not list(tmp_path.iterdir())
    for middle, severity in ((6_000, Severity.WARNING), (60_000, Severity.ERROR)):
        monkeypatch.setattr(host, "measured_us", lambda _place, us=middle: [us] * 3)
        assert "to be on disk" in texts(examine_host(Config(data=tmp_path)), severity)
    assert "to be on disk" not in str(examine_host(Config(data=tmp_path, durability="everysec")).findings)


async def test_a_live_store_that_may_lose_money(redis_url: str) -> None:
    client: Any = connect(redis_url)
    found = await examine_live_store(Config(), redis_url)
    assert any("answers a ping" in fact for fact in found.facts)
    await client.zadd("libraries", {"ocs_of_another_build": now_ms()})
    before = await client.config_get("maxmemory-policy")
    try:
        await client.config_set("maxmemory-policy", "allkeys-lru")
        found = await examine_live_store(Config(), redis_url)
    finally:
        await client.config_set("maxmemory-policy", before["maxmemory-policy"])
    assert "allkeys-lru" in texts(found, Severity.ERROR)
    assert "ocs_of_another_build" in texts(found, Severity.WARNING)
    await client.aclose()


async def test_a_database_that_may_lose_money_and_shards_that_stand_still(pg_dsn: str) -> None:
    await changed(pg_dsn, "ALTER ROLE CURRENT_USER SET synchronous_commit = on")
    try:
        said = texts(await examine_database(pg_dsn), Severity.ERROR)
        assert "fsync is off" in said  # as the tests' own is
        assert "synchronous_commit" not in said
        assert "shards" not in said
        await changed(pg_dsn, "UPDATE shards SET stopped = 'a gap' WHERE shard = 3")
        await changed(pg_dsn, "ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        said = texts(await examine_database(pg_dsn), Severity.ERROR)
    finally:
        await changed(pg_dsn, "ALTER ROLE CURRENT_USER RESET synchronous_commit")
    assert "synchronous_commit is off" in said
    assert "1 shards are not copied: 3: a gap" in said


async def changed(dsn: str, command: str) -> None:
    pg = await asyncpg.connect(dsn)
    await pg.execute(command)
    await pg.close()


def test_numbers_of_the_server() -> None:
    page = '# HELP x\nocs_ledger_stopped_shards 2.0\nocs_process_restarts_total{role="worker"} 1.0\n'
    page += 'ocs_process_restarts_total{role="api"} 7.0\nocs_ledger_lag_seconds 3.0\n'
    assert [one.runbook for one in judged(samples(page))] == ["OcsShardStopped", "OcsProcessRestarts"]
    assert list(judged({})) == []


def test_every_finding_names_a_section_that_exists() -> None:
    sections = {
        line.removeprefix("## ") for line in (ROOT / "docs/runbook.md").read_text().splitlines() if line[:3] == "## "
    }
    assert {one.runbook for one in NUMBERS} <= sections
    for file in (ROOT / "ocs/doctor").glob("*.py"):
        for name in [part for part in file.read_text().split('"') if part.startswith("Ocs")]:
            assert name in sections, (file, name)
