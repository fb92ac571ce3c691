"""Other builds than this one: the one before, and one of the next stored format.

That is made of this one: it reads one format more, and stores one more field in it.

The field stands for whatever a format is made for: it counts the postings of an account, and who drops it loses money
data. `steady` and twin know nothing of it, as of any field that is new.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

from balances.structs.blob import READS
from tests.servers import ROOT

PACKAGES: Final = ("balances", "ocs", "protocol", "tariffs")
NEXT: Final = READS[-1] + 1


def newer_build(home: Path) -> Path:
    """Where its sources are."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, home / package, ignore=shutil.ignore_patterns("__pycache__"))
    _changed(home / "balances/structs/blob.py", f"READS: Final = {READS}", f"READS: Final = {(*READS, NEXT)}")
    account = home / "balances/structs/account.py"
    account.write_text(account.read_text().rstrip("\n") + "\n    postings: int = 0\n")  # its last class is Account
    _changed(
        home / "balances/lua/lib/posting.lua",
        "  change.packed = cmsgpack.pack(account)\n",
        f"  if FORMAT >= {NEXT} then account[ACCOUNT.postings] = (account[ACCOUNT.postings] or 0) + 1 end\n"
        "  change.packed = cmsgpack.pack(account)\n",
    )
    return home


def _changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new, 1))


def build_before(home: Path) -> Path:
    """The sources of the commit before this one, or of `BUILD_BEFORE`. Skips where there is none: no git, an
    archive, a shallow clone."""
    commit = os.environ.get("BUILD_BEFORE", "HEAD~1")
    try:
        archive = subprocess.run(
            ["git", "archive", commit, *PACKAGES], cwd=ROOT, capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as why:
        said = getattr(why, "stderr", b"") or str(why).encode()
        pytest.skip(f"the build before cannot be had: git archive {commit}: {said.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as sources:
        sources.extractall(home, filter="data")
    return home
