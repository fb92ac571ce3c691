"""The way of tariffs/examples/README.md, as it is written there."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from ocs.cli.root import cli
from tests.ocs.cli.conftest import Run

EXAMPLES = Path("tariffs/examples").resolve()
TEXT = (EXAMPLES / "README.md").read_text()


def written(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


async def test_every_step(ocs: Run, address: str, tmp_path: Path) -> None:
    (tmp_path / "tariffs").mkdir()
    (tmp_path / "tariffs/examples").symlink_to(EXAMPLES)
    document = tmp_path / "home.toml"
    document.write_text(written("toml")[0])
    (tmp_path / "world.csv").write_text(written("csv")[0])
    steps = [line for block in written("sh") for line in block.splitlines()]
    assert len(steps) > 12
    for step in steps:
        command, _, wanted = step.partition("# -> ")
        words = shlex.split(command)[1:]
        if words[1] == "whatif":  # needs PostgreSQL; tests/ocs/rerating runs it
            document.write_text(document.read_text().replace('"0.05"', '"0.06"'))
            continue
        done = CliRunner().invoke(cli, words) if words[1] == "validate" else await ocs(*words)
        assert done.exit_code == 0, (step, done.output)
        assert wanted.strip() in done.output, (step, done.output)
