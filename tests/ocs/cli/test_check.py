"""`ocs check` on stores that are there."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ocs.cli.root import cli
from tests.servers import Servers


def test_stores_that_answer(servers: Servers, tmp_path: str) -> None:
    there = ["--set", f"redis.url={servers.redis_url}", "--set", f"postgres.dsn={servers.pg_dsn}"]
    done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *there])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count(": ok") == 4


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--data", ""],
        ["run", "--config", ""],
        ["ledger", "verify", "--url", ""],
        ["ledger", "verify", "--data", ""],
        ["tariff", "whatif", "--from", "2026-01-01", "--to", "2026-02-01", "--tariff", "x.toml", "--account", ""],
    ],
)
def test_an_option_given_empty_is_not_one_left_out(words: list[str]) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "it is empty: leave the option out" in done.stderr


def test_built_in_contexts_that_nobody_serves(servers: Servers, tmp_path: Path) -> None:
    config = tmp_path / "ocs.toml"
    there = ["--set", f"redis.url={servers.redis_url}", "--set", f"postgres.dsn={servers.pg_dsn}"]
    for key, said in (("contexts_only", 1), ("contexts", 0)):
        config.write_text(f'[charging.services.sms]\n{key} = ["sms@vendor.example"]\n')
        done = CliRunner().invoke(cli, ["check", "--config", str(config), "--data", str(tmp_path / "data"), *there])
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.count("nobody serves now: 32274@3gpp.org") == said
