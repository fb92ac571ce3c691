"""The command line against a server that listens: what it does, prints, and exits with."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from balances import keys
from balances.packing import pack
from ocs.api.texts import time_of
from ocs.cli import demo
from ocs.cli.remote import Remote
from ocs.cli.root import COMMANDS, cli
from tests.ocs.api.test_subscribers import open_session
from tests.ocs.api_harness import FLAT, ApiHarness
from tests.ocs.cli.conftest import Run


async def test_accounts_and_subscribers(ocs: Run, tmp_path: Path) -> None:
    (tmp_path / "flat.toml").write_text(FLAT)
    for words in (
        ("tariff", "load", "flat.toml"),
        ("account", "set", "a1", "--currency", "EUR", "--credit-limit", "5"),
        ("account", "topup", "a1", "20", "--key", "k1"),
        ("account", "topup", "a1", "20", "--key", "k1"),
        ("account", "topup", "a1", "1000", "--kind", "octets", "--scope", "data", "--name", "bundle", "--blocker"),
        ("account", "bucket", "a1", "1", "--no-blocker"),
        ("account", "topup", "a1", "1", "--kind", "seconds", "--hours", "sat-sun 10:00-24:00"),
        ("account", "adjust", "a1", "-1.50", "--reason", "mistake"),
        ("account", "topup", "a1", "2", "--name", "bonus"),
        ("account", "transfer", "a1", "2", "--from", "3", "--reason", "asked", "--key", "k2"),
        ("account", "transfer", "a1", "2", "--from", "3", "--reason", "asked", "--key", "k2"),
        ("account", "topup", "a1", "60", "--kind", "seconds", "--name", "both", "--scope", "data", "--money", "4.00"),
        ("account", "set", "a1", "--suspend-below", "1"),
        ("subscriber", "set", "s1", "--account", "a1", "--identity", "msisdn:+491701", "--tariff", "flat"),
        ("subscriber", "set", "s1", "--account", "a1", "--identity", "msisdn:491702", "--tariff", "flat"),
    ):
        done = await ocs(*words)
        assert done.exit_code == 0, (words, done.output)
    shown = await ocs("account", "show", "a1", "--json")
    found = json.loads(shown.stdout)
    assert (found["balance"], found["credit_limit"], found["suspend_below"]) == ("24.50", "5.00", "1.00")
    table = (await ocs("account", "show", "a1")).stdout
    assert "24.50 EUR" in table
    assert "seconds + money" in table
    assert "60 + 4.00" in table
    assert "bundle" in table
    assert "all at sat-sun 10:00-24:00" in table
    by_identity = await ocs("subscriber", "show", "msisdn:491702")
    assert "flat" in by_identity.stdout
    assert "491702" in (await ocs("subscriber", "list")).stdout
    assert (await ocs("tariff", "show", "flat")).stdout.strip() == FLAT.strip()
    assert "a1" in (await ocs("account", "list")).stdout
    assert (await ocs("session", "list", "a1")).exit_code == 0
    barred = (await ocs("subscriber", "set", "s1", "--barred", "--json")).stdout  # and what is not named stays
    assert '"barred": true' in barred
    assert "msisdn:491702" in barred
    assert '"tariff": "flat"' in barred
    assert (await ocs("subscriber", "set", "s9", "--barred")).exit_code == 2
    assert (await ocs("subscriber", "delete", "s1")).exit_code == 0
    grace = await ocs("account", "set", "a1", "--state", "grace", "--grace-until", "2099-01-01T00:00:00Z")
    assert "2099-01-01T00:00:00Z" in grace.stdout
    assert "payout" in (await ocs("account", "close", "a1", "--reason", "moved")).output
    assert (await ocs("account", "close", "a1", "--reason", "moved", "--remainder", "write-off")).exit_code == 0
    assert "closed" in (await ocs("account", "show", "a1")).stdout


async def test_from_another_machine(
    address: str, harness: ApiHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the server's is at hand but its address and the token."""
    await harness.account()
    token = (tmp_path / "admin.token").read_text().strip()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "secret").write_text(token + "\n")
    (elsewhere / "other").write_text("guess\n")
    url = f"http://{address}"
    right: list[tuple[list[str], dict[str, str]]] = [
        (["--url", url, "--token", token], {}),
        (["--url", url, "--token-file", "secret"], {}),
        ([], {"OCS_URL": url, "OCS_TOKEN": token}),
        ([], {"OCS_URL": url, "OCS_TOKEN_FILE": "secret"}),
        (["--token", token], {"OCS_URL": url, "OCS_TOKEN": "wrong"}),  # an option wins
        (["--data", str(tmp_path)], {"OCS_URL": url, "OCS_TOKEN": "wrong"}),
    ]
    wrong: list[tuple[list[str], dict[str, str], str]] = [
        (["--url", url], {}, "say where the token is: --token-file, OCS_TOKEN"),
        (["--url", url, "--token-file", "nowhere"], {}, "nowhere: No such file"),
        (["--url", url, "--token", "guess"], {}, f"the server at {url} does not know the token from --token"),
        (["--url", url], {"OCS_TOKEN": "guess"}, "does not know the token from OCS_TOKEN"),
        (["--url", url], {"OCS_TOKEN_FILE": "other"}, "does not know the token from other"),
        (["--url", url], {"OCS_TOKEN": ""}, "OCS_TOKEN is empty: unset it"),
    ]
    for words, environ in right:
        done = await asyncio.to_thread(CliRunner(env=environ).invoke, cli, ["account", "show", "a1", *words])
        assert done.exit_code == 0, (words, environ, done.output)
        assert token not in done.output
    for words, environ, said in wrong:
        done = await asyncio.to_thread(CliRunner(env=environ).invoke, cli, ["account", "show", "a1", *words])
        assert done.exit_code == 1, (words, environ, done.output)
        assert said in done.stderr


async def test_a_top_up_of_unknown_fate_is_repeated_with_its_key(ocs: Run, harness: ApiHarness) -> None:
    await harness.account()
    await harness.redis.execute_command("CLIENT", "PAUSE", 30_000, "WRITE")
    unknown = await ocs("account", "topup", "a1", "20")
    await harness.redis.execute_command("CLIENT", "UNPAUSE")
    key = re.search(r"with --key ([0-9a-f]{32})$", unknown.stderr.strip())
    assert key is not None, unknown.stderr
    for _ in range(2):
        assert (await ocs("account", "topup", "a1", "20", "--key", key[1])).exit_code == 0
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"


async def test_a_new_account_needs_its_currency(ocs: Run) -> None:
    done = await ocs("account", "set", "a9", "--credit-limit", "5")
    assert (done.exit_code, "a new one needs --currency" in done.stderr) == (2, True), done.output


async def test_subscribers_page_by_page(ocs: Run, harness: ApiHarness) -> None:
    await harness.account()
    for name in ("s1", "s2"):
        await ocs("subscriber", "set", name, "--account", "a1")
    first = await ocs("subscriber", "list", "--limit", "1")
    assert "more: --after s1\n" in first.stdout
    second = await ocs("subscriber", "list", "--limit", "2", "--after", "s1")
    assert "s2" in second.stdout
    assert "more: " not in second.stdout


async def test_a_top_up_that_would_be_another(ocs: Run, harness: ApiHarness) -> None:
    await harness.account()
    before = (await ocs("account", "show", "a1")).output
    for words, code, said in (
        (("-5",), 1, "more than zero"),
        (("5", "--key", ""), 2, "it is empty"),  # of a variable nobody set: each time it would be a new key
    ):
        done = await ocs("account", "topup", "a1", *words)
        assert (done.exit_code, said in done.stderr) == (code, True), done.output
    assert (await ocs("account", "show", "a1")).output == before
    await ocs("account", "topup", "a1", "60", "--kind", "seconds", "--valid-for", "3600")
    assert "3600 s from its first use" in (await ocs("account", "show", "a1")).output


@pytest.mark.parametrize(
    "words",
    [
        ("subscriber", "list", "--account", ""),
        ("session", "list", ""),
        ("session", "list", "--peer", ""),
        ("suspense", "list", "--account", ""),
        ("suspense", "list", "--session", ""),
    ],
)
def test_a_filter_given_empty_is_not_all_of_them(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, "it is empty" in done.stderr) == (2, True), done.output


async def test_sessions_of_all(ocs: Run, harness: ApiHarness) -> None:
    await harness.account()
    for name in (keys.session_key("gw;1"), keys.session_key("gw;2\x1b[31m")):
        session = open_session(name, "s1")
        await harness.redis.hset(keys.account("a1"), name, pack(session))
        await harness.redis.zadd(keys.due(keys.shard_of("a1")), {keys.due_member("a1", name): 5})
    listed = await ocs("session", "list", "--limit", "1")
    assert "gw;1" in listed.stdout
    after = listed.stdout.rpartition("--after ")[2].strip()
    second = (await ocs("session", "list", "--after", after)).stdout
    assert "gw;2%1B[31m" in second
    assert "0.10" in second
    assert "gw;1" not in second


async def test_the_ledger_newest_first_by_time_and_kind(ocs: Run, harness: ApiHarness) -> None:
    await ocs("account", "set", "a1", "--currency", "EUR")
    await ocs("account", "topup", "a1", "1")
    await ocs("account", "topup", "a1", "5000", "--kind", "octets")
    harness.ahead_ms = 86_400_000
    await ocs("account", "adjust", "a1", "-0.25", "--reason", "later")
    await harness.sync()

    async def seqs(*words: str) -> list[int]:
        shown = await ocs("ledger", "show", "a1", "--json", *words)
        assert shown.exit_code == 0, shown.output
        return [entry["seq"] for entry in json.loads(shown.stdout)["items"]]

    assert await seqs() == [1, 2, 3]
    assert await seqs("--newest") == [3, 2, 1]
    assert await seqs("--newest", "--before-seq", "3") == [2, 1]
    assert "more: --newest --before-seq 2" in (await ocs("ledger", "show", "a1", "--newest", "--limit", "2")).stdout
    assert await seqs("--kind", "octets") == [2]
    assert await seqs("--why", "adjustment") == [3]
    noon = time_of(harness.now_ms() - 3_600_000)
    assert await seqs("--from", noon) == [3]
    assert await seqs("--until", noon, "--kind", "money") == [1]


async def test_the_ledger(ocs: Run, harness: ApiHarness) -> None:
    await ocs("account", "set", "a1", "--currency", "EUR")
    for _ in range(3):
        await ocs("account", "topup", "a1", "1")
    await harness.sync()
    shown = await ocs("ledger", "show", "a1", "--limit", "2")
    assert "2.00" in shown.stdout
    assert "--after-seq 2" in shown.stdout


async def test_the_proof(ocs: Run, harness: ApiHarness) -> None:
    await ocs("account", "set", "a1", "--currency", "EUR")
    await ocs("account", "topup", "a1", "12.34")
    await harness.sync()
    sound = await ocs("ledger", "verify")
    assert (sound.exit_code, "sound" in sound.stdout, "top-up -12.34" in sound.stdout) == (0, True, True)
    await harness.redis.delete(keys.account("a1"))
    assert "1 accounts" in (await ocs("ledger", "rebuild")).stdout
    assert await harness.redis.exists(keys.account("a1"))
    await harness.pool.execute("UPDATE ledger_entries SET amount = amount + 1")
    wrong = await ocs("ledger", "verify")
    assert wrong.exit_code == 1
    assert "WRONG" in wrong.stderr


ENDINGS = [
    (("account", "show", "a9"), 1, "no account a9"),
    (("account", "topup", "a9", "1"), 1, "no account a9"),
    (("account", "topup", "a9", "1,5"), 1, "amount"),
    (("account", "topup", "a9"), 2, "AMOUNT"),
    (("account", "explode", "a9"), 2, "explode"),
    (("subscriber", "show", "msisdn:1234"), 1, "nobody"),
    (("tariff", "load", "nowhere.toml"), 1, "nowhere.toml"),
]


async def test_exit_codes(ocs: Run) -> None:
    for words, code, says in ENDINGS:
        done = await ocs(*words)
        assert (done.exit_code, done.stdout) == (code, "")
        assert says in done.stderr


def test_without_a_server(tmp_path: Path) -> None:
    no_token = CliRunner().invoke(cli, ["account", "list", "--data", str(tmp_path)])
    assert (no_token.exit_code, "--data" in no_token.stderr) == (1, True)
    (tmp_path / "admin.token").write_text("x\n")
    where = ["--url", "http://127.0.0.1:1", "--data", str(tmp_path)]
    nobody = CliRunner().invoke(cli, ["account", "list", *where])
    assert (nobody.exit_code, "ocs run" in nobody.stderr) == (1, True)


def test_tariffs_are_validated_without_a_server(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(FLAT)
    bad.write_text(FLAT.replace("price", "prize"))
    done = CliRunner().invoke(cli, ["tariff", "validate", str(good)])
    assert (done.exit_code, done.stdout) == (0, f"{good}: flat, EUR, 1 row\n")
    refused = CliRunner().invoke(cli, ["tariff", "validate", str(good), str(bad)])
    assert refused.exit_code == 1
    assert "bad.toml: rows[1].flat" in refused.stderr


async def test_the_demo_is_loaded_once(harness: ApiHarness, address: str, tmp_path: Path) -> None:
    import asyncio

    server = Remote(f"http://{address}", (tmp_path / "admin.token").read_text().strip())
    for _ in range(3):
        await asyncio.to_thread(demo.load_into, server)

    def look() -> dict[str, tuple[str, str, str]]:
        found = {}
        for person in demo.PEOPLE:
            for identity in demo.identities(person.msisdn):
                (subscriber,) = server.get("subscribers", identity=identity)["items"]
                account = server.get("accounts", subscriber["account"])
                found[person.msisdn] = account["balance"], account["credit_limit"], account["state"]
        return found

    assert await asyncio.to_thread(look) == {
        "491700000001": ("20.00", "0.00", "active"),
        "491700000002": ("0.00", "0.00", "active"),
        "491700000003": ("10.00", "0.00", "suspended"),
        "491700000004": ("30.00", "0.00", "active"),
        "491700000005": ("30.00", "0.00", "active"),
        "491700000006": ("0.00", "50.00", "active"),
    }
    assert demo.identities("491700000001")[1:3] == ["imsi:001011700000001", "sip:+491700000001@example.net"]


def test_every_command_has_its_help() -> None:
    assert CliRunner().invoke(cli, []).exit_code == 2
    for name, (_, about) in COMMANDS.items():
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0, done.output
        assert about.split(":")[0] in done.output


def test_no_command_has_two_options_of_one_name() -> None:
    """The second one would take the place of the first: --token of an event that of the API."""
    waiting: list[tuple[str, click.Command]] = [("ocs", cli)]
    for path, command in waiting:
        names = [name for one in command.params for name in one.opts]
        assert len(names) == len(set(names)), path
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            found = [(name, command.get_command(ctx, name)) for name in command.list_commands(ctx)]
            waiting += [(f"{path} {name}", one) for name, one in found if one is not None]
    assert len(waiting) > 100


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("account", "topup", "--help")])
def test_help_comes_at_once(words: tuple[str, ...]) -> None:
    """Nothing is imported for it that takes long to import: a time would depend on what else runs on this machine."""
    command = [sys.executable, "-X", "importtime", "-m", "ocs", *words]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    servers = {"starlette", "uvicorn", "uvloop", "structlog"}
    slow = servers | {"redis", "asyncpg", "msgspec", "rich.table", "ocs.config.tree"}
    assert imported & slow == set()
    assert "click" in imported


def test_configuration_that_is_wrong_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "ocs.toml"
    file.write_text("[diameter]\nwatchdog_s = 1\n")
    for command in ("run", "check"):
        done = CliRunner().invoke(cli, [command, "--config", str(file)])
        assert done.exit_code == 1
        assert f"{file}: diameter.watchdog_s: expected int >= 6, found 1" in done.stderr


def test_check_names_what_cannot_be_reached(tmp_path: Path) -> None:
    away = ["--set", "redis.url=redis://127.0.0.1:1", "--set", "postgres.dsn=postgresql://u:secret@127.0.0.1:1/x"]
    done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *away])
    assert done.exit_code == 1
    assert "redis.url: Redis cannot be reached" in done.stderr
    assert "postgres.dsn: cannot be reached" in done.stderr
    assert "secret" not in done.output
    listeners = [f"--set={one}.listen=127.0.0.1:0" for one in ("diameter", "http", "metrics")]
    assert CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *listeners]).exit_code == 0
