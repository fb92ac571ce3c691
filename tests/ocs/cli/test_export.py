"""`ocs export` against a server that listens: a whole file, and one that was cut."""

import asyncio
from pathlib import Path

import pytest

from ocs.backoffice import exports
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


@pytest.mark.parametrize("suffix", ["ndjson", "csv"])
async def test_a_file_that_was_cut_goes_on(
    ocs: Run, harness: ApiHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    await harness.tariff()
    for number in range(3):
        await harness.account(f"a{number}")
    await harness.subscriber("s1", "a1", "msisdn:491")
    file = tmp_path / f"out.{suffix}"
    done = await ocs("export", str(file))
    assert (done.exit_code, done.stderr) == (0, f"{5 if suffix == 'csv' else 4} lines\n"), done.output
    whole = await asyncio.to_thread(file.read_bytes)
    assert (await ocs("export", str(file))).exit_code == 2  # it is there already
    begun = await ocs("export", f"begun.{suffix}", "--resume")  # of nothing: from the beginning
    assert (begun.exit_code, (tmp_path / f"begun.{suffix}").read_bytes()) == (0, whole), begun.output
    other = tmp_path / f"other.{suffix}"
    other.write_bytes(b"mine")
    refused = await ocs("export", str(other), "--resume")
    assert (refused.exit_code, "is no" in refused.stderr, other.read_bytes()) == (1, True, b"mine"), refused.output
    unknown = await ocs("export", f"new.{suffix}", "--token", "nobody's")
    assert (unknown.exit_code, (tmp_path / f"new.{suffix}").exists()) == (1, False)
    nowhere = await ocs("export", f"none/out.{suffix}")
    assert (nowhere.exit_code, nowhere.stderr) == (1, f"Error: none/out.{suffix}: No such file or directory\n")
    monkeypatch.setattr(exports, "AT_ONCE", 2)
    for cut in (0, 5, len(whole) // 2, len(whole) - 3, len(whole)):
        file.write_bytes(whole[:cut])
        assert (await ocs("export", str(file), "--resume")).exit_code == 0
        assert await asyncio.to_thread(file.read_bytes) == whole, cut
    assert (await ocs("import", str(file))).exit_code == 0  # all of it is there
    assert (await ocs("export", "-", "--format", suffix)).stdout_bytes == whole
