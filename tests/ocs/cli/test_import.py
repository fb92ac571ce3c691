"""`ocs import` as a back office uses it."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ocs.api import import_file
from ocs.backoffice.errors import Unavailable
from ocs.master import bulk
from ocs.master.accounts import AccountRow
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run

HEADER = "account,currency,balance,subscriber,msisdn,tariffs\n"
GOOD = HEADER + "n1,EUR,20.00,n1,4915100000001,flat\nn2,EUR,5,n2,4915100000002,flat\n"
BAD = GOOD + "n3,EUR,five,n3,4915100000003,flat\nn4,EUR,1,n4,4915100000001,flat\n"


@pytest.fixture
async def harness(harness: ApiHarness) -> ApiHarness:
    await harness.tariff()
    return harness


async def test_a_file_goes_in(harness: ApiHarness, ocs: Run, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(GOOD)
    checked = await ocs("import", "new.csv", "--check")
    assert (checked.exit_code, "checked: nothing was changed" in checked.stdout) == (0, True), checked.output
    assert (await harness.call("GET", "/v1/accounts/n1")).status_code == 404
    done = await ocs("import", "new.csv")
    assert done.exit_code == 0, done.output
    assert "2 new, 0 unchanged" in done.stdout
    assert "25.00 EUR" in done.stdout
    assert (await harness.call("GET", "/v1/accounts/n1")).json()["balance"] == "20.00"
    again = await ocs("import", "new.csv", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["accounts_unchanged"] == 2


async def test_what_is_wrong_is_told_by_line(harness: ApiHarness, ocs: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(BAD)
    done = await ocs("import", "bad.csv", "--errors", "errors.csv", "--rejected", "rejected.csv")
    assert done.exit_code == 1
    assert "line 4: account.balance: " in done.stderr
    assert "line 5: subscriber.identities: msisdn:4915100000001 belongs to n1" in done.stderr
    assert [line.split(",")[:2] for line in (tmp_path / "errors.csv").read_text().splitlines()] == [
        ["line", "field"],
        ["4", "account.balance"],
        ["5", "subscriber.identities"],
    ]
    rejected = BAD.splitlines(keepends=True)
    assert (tmp_path / "rejected.csv").read_text() == rejected[0] + rejected[3] + rejected[4]
    mended = (
        (tmp_path / "rejected.csv").read_text().replace("five", "5").replace("n4,4915100000001", "n4,4915100000004")
    )
    (tmp_path / "mended.csv").write_text(mended)
    assert (await ocs("import", "mended.csv")).exit_code == 0


async def test_many_errors_do_not_flood_the_terminal(ocs: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.ndjson").write_text("{\n" * 1_500)
    done = await ocs("import", "bad.ndjson", "--errors", "errors.csv")
    assert done.exit_code == 1
    assert done.stderr.count("line ") == 20
    assert len((tmp_path / "errors.csv").read_text().splitlines()) == 1_501


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["import", "none.csv"], 1, "No such file"),
        (["import", "names.txt"], 2, "--format"),
        (["import", "-", "--format", "csv", "--rejected", "x"], 2, "standard input"),
        (["import", "header.csv"], 1, "expected a column `account`"),
        (["import", "empty.csv"], 1, "expected a column `account`"),
    ],
)
async def test_what_cannot_begin(ocs: Run, tmp_path: Path, words: list[str], code: int, said: str) -> None:
    (tmp_path / "header.csv").write_text("who,currency\na1,EUR\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "names.txt").write_text("")
    done = await ocs(*words)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


async def test_a_store_that_goes_away_stops_it_and_it_can_go_on(
    harness: ApiHarness, ocs: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_file, "BATCH_LINES", 1)
    opened = bulk.Import._open_new

    async def failing(self: bulk.Import, rows: list[AccountRow], epochs: Mapping[str, bytes]) -> None:
        if any(row.id == "n2" for row in rows):
            raise Unavailable("the live store is shut")
        await opened(self, rows, epochs)

    monkeypatch.setattr(bulk.Import, "_open_new", failing)
    (tmp_path / "new.csv").write_text(GOOD)
    done = await ocs("import", "new.csv")
    assert done.exit_code == 1
    assert "stopped after 1 lines: the live store is shut" in done.stderr
    assert "import the same file again" in done.stderr
    monkeypatch.setattr(bulk.Import, "_open_new", opened)
    assert (await ocs("import", "new.csv")).exit_code == 0
    assert [(await harness.call("GET", f"/v1/accounts/{n}")).json()["balance"] for n in ("n1", "n2")] == [
        "20.00",
        "5.00",
    ]


async def test_standard_input(harness: ApiHarness, address: str, tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ocs", "import", "-", "--format", "csv", "--json"),
        *("--url", f"http://{address}", "--data", str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate(GOOD.encode())
    assert (child.returncode, json.loads(said)["subscribers_created"]) == (0, 2)
