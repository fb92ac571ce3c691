"""`ocs check` on stores that are there."""

from click.testing import CliRunner

from ocs.cli.root import cli
from tests.servers import Servers


def test_stores_that_answer(servers: Servers, tmp_path: str) -> None:
    there = ["--set", f"redis.url={servers.redis_url}", "--set", f"postgres.dsn={servers.pg_dsn}"]
    done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *there])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count(": ok") == 4
