"""`ocs offer` and `ocs account topup --offer`: the commands that docs/offers.md shows, with its offer."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run
from tests.shape.source import text


def block(language: str) -> str:
    return text("docs/offers.md").partition(f"```{language}\n")[2].partition("```")[0]


async def test_the_commands_of_the_document(ocs: Run, harness: ApiHarness, tmp_path: Path) -> None:
    await harness.account("demo-1")
    await harness.tariff()
    (tmp_path / "spring.json").write_text(block("json"))
    commands = [shlex.split(re.sub(r"\s+#.*", "", line))[1:] for line in block("sh").splitlines()]
    assert len(commands) == 6
    said = []
    for words in commands:
        done = await ocs(*words)
        assert done.exit_code == 0, (words, done.output)
        said.append(done.stdout)
    put, listed, quoted, topped, _, gone = said
    assert "1.00 + 15.00 %, at most 10.00, 30 days" in put
    assert "More for more" in listed
    assert "+4.00 money" in quoted
    assert "balance 24.00" in topped
    assert gone == "no offer spring any more\n"
    await harness.sync()
    assert "offer spring" in (await ocs("ledger", "show", "demo-1")).stdout


async def test_what_is_refused(ocs: Run, harness: ApiHarness, tmp_path: Path) -> None:
    await harness.account("demo-1")
    refused = await ocs("account", "topup", "demo-1", "5.00", "--offer", "spring")
    assert (refused.exit_code, "there is no offer spring" in refused.stderr) == (1, True)
    (tmp_path / "odd.json").write_text("{")
    assert "expected JSON" in (await ocs("offer", "put", "odd", "odd.json")).stderr
    (tmp_path / "odd.json").write_text(json.dumps({"currency": "EUR", "bands": []}))
    assert "bands" in (await ocs("offer", "put", "odd", "odd.json")).stderr
    assert json.loads((await ocs("offer", "list", "--json")).stdout) == {"items": []}
