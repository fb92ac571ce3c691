"""`ocs subscriber limit` and `ocs account limit`: the commands that README.md shows, with the demo's people."""

import asyncio
import json
import re
import shlex
from pathlib import Path

from ocs.cli import demo
from ocs.cli.remote import Remote
from tests.ocs.cli.conftest import Run
from tests.shape.source import text


def shown() -> list[list[str]]:
    section = text("README.md").partition("## Limits of what is spent")[2].partition("\n## ")[0]
    block = section.partition("```sh\n")[2].partition("```")[0]
    return [shlex.split(re.sub(r"\s+#.*", "", line))[1:] for line in block.splitlines()]


async def test_the_commands_of_the_readme(ocs: Run, address: str, tmp_path: Path) -> None:
    server = Remote(f"http://{address}", (tmp_path / "admin.token").read_text().strip())
    await asyncio.to_thread(demo.load_into, server)
    commands = shown()
    assert len(commands) == 5
    for words in commands:
        done = await ocs(*words)
        assert done.exit_code == 0, (words, done.output)
    listed = json.loads((await ocs("subscriber", "limit", "list", "demo-491700000005", "--json")).stdout)["items"]
    assert [(one["name"], one["shared"], one["amount"], one["left"]) for one in listed] == [
        ("pocket-money", False, "10.00", "10.00"),
        ("gaming", True, "3000000000", "3000000000"),
    ]
    table = (await ocs("subscriber", "limit", "list", "demo-491700000005")).stdout
    assert "pocket-money" in table
    assert "octets of data" in table
    assert "gaming" in (await ocs("account", "limit", "list", "demo-family")).stdout
    assert json.loads((await ocs("subscriber", "limit", "list", "demo-491700000001", "--json")).stdout)["items"] == []


async def test_what_is_refused(ocs: Run) -> None:
    refused = await ocs("subscriber", "limit", "set", "nobody", "x", "1.00")
    assert (refused.exit_code, "there is no subscriber nobody" in refused.stderr) == (1, True)
    refused = await ocs("account", "limit", "set", "nobody", "x", "1.00", "--period", "fortnight")
    assert (refused.exit_code, "period" in refused.stderr) == (1, True)
