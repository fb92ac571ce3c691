"""`ocs tariff whatif`, as it is typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner

from ocs.cli.history import progress
from ocs.cli.root import cli
from ocs.config.load import load
from ocs.rerating.find_postgres import NotRunning, dsn_of, embedded_dsn
from tests.ocs.rerating.conftest import Run
from tests.ocs.rerating.network import Network
from tests.ocs.rerating.test_history import FLAT, customer, session
from tests.tariffs.traffic import MB


async def test_table_json_and_page(network: Network, run: Run) -> None:
    await customer(network)
    await session(network, 2 * MB, MB)
    await network.harness.sync()
    Path("draft.toml").write_text(FLAT.replace("0.01", "0.02"))
    shown = await run("whatif", "--tariff", "draft.toml", "--html", "report.html")
    assert shown.exit_code == 0, shown.output
    for text in ("revenue in EUR", "0.03", "0.06", "100.00", "s1", "bear in mind", "report.html"):
        assert text in shown.stdout, text
    assert shown.stderr == ""  # no progress bar where nobody looks
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")
    found = json.loads((await run("whatif", "--tariff", "draft.toml", "--json")).stdout)
    assert (found["tariff"], found["records"], found["pieces"]["again"]) == ("flat", 3, 2)
    assert found["currencies"]["EUR"]["revenue"]["change"] == "0.03"
    assert found["unused"] + sum(found["pieces"].values()) == found["records"]
    assert (found["unused"], found["priced_by"]) == (1, {"flat": 2})
    assert re.search(r"without use, not rated +1 *\n", shown.stdout)
    assert found["currencies"]["EUR"]["dearer"][0]["subscriber"] == "s1"
    only = json.loads((await run("whatif", "--tariff", "draft.toml", "--json", "--service", "voice")).stdout)
    assert only["currencies"] == {}
    Path("draft.toml").write_text(FLAT.replace('"flat"', '"other"'))
    nothing = await run("whatif", "--tariff", "draft.toml")
    assert (nothing.exit_code, "Nothing was priced by other" in nothing.stdout) == (0, True)
    instead = await run("whatif", "--tariff", "draft.toml", "--instead-of", "flat")
    assert ("revenue in EUR" in instead.stdout, "Nothing was" in instead.stdout) == (True, False)


async def test_options_that_match_nothing(network: Network, run: Run) -> None:
    await customer(network)
    await session(network, 2 * MB, MB)
    await network.harness.sync()
    Path("draft.toml").write_text(FLAT)
    for command in ("whatif", "rerate"):
        for option, what in (("--account", "account"), ("--subscriber", "subscriber"), ("--service", "service")):
            nobody = await run(command, "--tariff", "draft.toml", option, "nobody")
            assert (nobody.exit_code, "There is no usage record from 2020-01-01T00:00:00Z" in nobody.stdout) == (
                0,
                True,
            )
            assert f"of {what} nobody: the name must be as records have it" in nobody.stdout
        instead = await run(command, "--tariff", "draft.toml", "--instead-of", "flatt", "--instead-of", "flat")
        assert "--instead-of flatt: it priced nothing then; these did: flat." in instead.stdout
        assert "--instead-of flat:" not in instead.stdout


def test_progress_is_shown_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("rating again", 10) as said:
        said(4)
    shown = capsys.readouterr()
    assert (shown.out, "rating again" in shown.err) == ("", True)


@pytest.mark.parametrize("command", ["whatif", "rerate"])
def test_help_comes_at_once(command: str) -> None:
    """Nothing is imported for it that takes long to import."""
    words = [sys.executable, "-X", "importtime", "-m", "ocs", "tariff", command, "--help"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert not imported & {"asyncpg", "asyncio", "ocs.rerating.run", "tariffs.load", "rich.table"}


def test_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "draft.toml").write_text(FLAT)
    words = ["tariff", "whatif", "--tariff", str(tmp_path / "draft.toml"), "--from", "2026-01-01", "--to", "2026-02-01"]
    done = CliRunner().invoke(cli, [*words, "--data", str(tmp_path)])
    assert (done.exit_code, "ocs run" in done.stderr) == (1, True)
    away = CliRunner().invoke(cli, [*words, "--set", "postgres.dsn=postgresql://u:secret@127.0.0.1:1/x"])
    assert (away.exit_code, "cannot be reached" in away.stderr, "secret" in away.output) == (1, True, False)


async def test_the_embedded_one_is_found_by_its_lock(pg_dsn: str, server_dir: Path, tmp_path: Path) -> None:
    pg = await asyncpg.connect(embedded_dsn(server_dir))
    assert await pg.fetchval("SELECT 1") == 1
    await pg.close()
    with pytest.raises(NotRunning):
        embedded_dsn(tmp_path)
    assert dsn_of(load(None, ["postgres.dsn=postgresql://x/y"], {})) == "postgresql://x/y"
