"""`ocs status`: what it says of the whole store."""

import json

import pytest
from click.testing import CliRunner

from balances.migrations.migrate import migrations
from ocs.backoffice.at_stake import LATELY_MS
from ocs.cli.remote import Remote
from ocs.cli.root import cli
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run
from tests.servers import Servers


async def test_money_at_stake(ocs: Run, harness: ApiHarness) -> None:
    await harness.account("poor", credit_limit="50.00")
    taken = await harness.call(
        "POST",
        "/v1/accounts/poor/adjustments",
        {"amount": "-3.50", "reason": "damage"},
        idempotency_key="1",
    )
    assert taken.status_code == 201, taken.text
    await harness.sync()
    done = await ocs("status")
    assert done.exit_code == 0, done.stderr
    assert "at stake: 3.50 EUR, at " in " ".join(done.stdout.split())
    assert json.loads((await ocs("status", "--json")).stdout)["at_stake"]["total"] == {"EUR": "3.50"}


async def test_which_builds_can_start_on_the_database(ocs: Run, harness: ApiHarness) -> None:
    await harness.pool.execute("INSERT INTO migrations (number, name, digest, needs) VALUES (998, '998_x', 'd', 997)")
    said = " ".join((await ocs("upgrade")).stdout.split())
    newest = max(migrations()).number
    assert (
        "the database is at migration 998: builds that know 997 can start on it, if they read the stored format" in said
    )
    assert f"the host that answers knows {newest:03}" in said


async def test_what_is_known_while_postgres_is_away(ocs: Run, harness: ApiHarness, servers: Servers) -> None:
    assert "not known" not in (await ocs("status")).stdout
    servers.postgres.stop()
    harness.ahead_ms += LATELY_MS
    try:
        done = await ocs("status")
        said = " ".join(done.stdout.split())
        assert done.exit_code == 0, done.stderr
        assert "the hosts are not known now; this one: redis: ok postgres: PostgreSQL" in said
        assert "not known: hosts and stored format: PostgreSQL" in said
        assert "at stake: at least nothing" in said
        said = " ".join((await ocs("exposure")).stdout.split())
        assert "not known: owed: PostgreSQL" in said
        assert "at stake: at least nothing" in said
    finally:
        servers.postgres.start()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("4 processes restarted", 0),
        ("supervisor and 4 processes restarted", 0),
        ("4 processes restarted; the configuration was not read anew", 0),
        ("failed at worker 1: it does not get ready", 1),
    ],
)
def test_a_rolling_restart_ends_as_the_hosts_say(said: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    host = {"name": "vm", "state": "ready", "restart": False, "restart_said": said}
    monkeypatch.setattr(Remote, "post", lambda *_, **__: {"hosts": ["vm"]})
    monkeypatch.setattr(Remote, "get", lambda *_, **__: {"format": 2, "hosts": [host]})
    done = CliRunner().invoke(cli, ["restart", "--rolling", "--url", "http://127.0.0.1:1"], env={"OCS_TOKEN": "t"})
    assert (done.exit_code, f"vm: {said}" in done.output) == (status, True)
