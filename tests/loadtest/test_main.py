"""The command: exit codes, and what it says."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.loadtest.fake import Fake

SHORT = ("--provision", "8", "--duration", "0.4", "--rate", "400", "--connections", "1")


async def ocs_load(fake: Fake | None, tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and everything it wrote."""
    (tmp_path / "token").write_text("secret\n")
    where: tuple[str, ...] = ()
    if fake is not None:
        where = ("--diameter", f"127.0.0.1:{fake.diameter_port}", "--http", f"http://127.0.0.1:{fake.http_port}")
    command = [sys.executable, "-m", "loadtest", *where, "--token-file", str(tmp_path / "token"), *arguments]
    env = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1"}
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=env
    )
    output = (await asyncio.wait_for(child.communicate(), 60))[0].decode()
    assert child.returncode is not None
    return child.returncode, output


async def test_it_plays_and_the_accounts_agree(fake: Fake, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    code, output = await ocs_load(fake, tmp_path, "mixed", *SHORT, "--json", str(result))
    assert code == 0, output
    assert "HOLDS" in output
    tree = json.loads(result.read_text())
    assert tree["good"] is True
    assert tree["answered"] > 50
    assert tree["audit"]["due"] == tree["audit"]["debited"] == tree["audit"]["entered"] > 0


async def test_saturation_with_repeats_and_cuts(fake: Fake, tmp_path: Path) -> None:
    code, output = await ocs_load(
        fake, tmp_path, "data", *SHORT, "--saturate", "8", "--duplicate", "0.2", "--cut", "0.2", "--duration", "1"
    )
    assert code == 0, output
    assert "planted duplicates" in output


async def test_a_difference_is_exit_code_1(fake: Fake, tmp_path: Path) -> None:
    fake.overcharge_at = 5
    code, output = await ocs_load(fake, tmp_path, "data", *SHORT)
    assert code == 1
    assert "FAILS" in output
    assert "off by 1 micro-units" in output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("no-such-thing",), 2, "shipped ones: data, mixed, scarce"),
        (("--rate", "-1"), 2, "rate"),
        (("--diameter", "nowhere"), 2, "expected HOST:PORT"),
        (("--diameter", "127.0.0.1:x"), 2, "expected HOST:PORT"),
        (("--token-file", "/no/such/file"), 1, "/no/such/file"),
        (("--list",), 0, "mixed"),
        (("--help",), 0, "exit codes"),
    ],
)
async def test_what_goes_wrong_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    found, output = await ocs_load(None, tmp_path, *arguments)
    assert (found, words in output) == (code, True), output
    assert "Traceback" not in output


async def test_an_api_that_refuses_is_named(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "_route", lambda *_: (401, {"detail": "A bearer token is required"}))
    code, output = await ocs_load(fake, tmp_path, "data", *SHORT)
    assert code == 1
    assert "401 A bearer token is required" in output
    assert "Traceback" not in output
