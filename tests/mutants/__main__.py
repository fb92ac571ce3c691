"""`make mutants`: plant each fault of the table in a copy of the tree, and see that a test fails.

A fault that no test sees ends the run with 1. Arguments are names of mutants; none: all.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.mutants.table import ALWAYS, MUTANTS, Mutant

ROOT: Final = Path(__file__).parents[2]
COPIES: Final = 2
"""At once."""
FAILED: Final = 1
"""What pytest ends with when a test fails."""
LEFT_OUT: Final = shutil.ignore_patterns(".*", "ocs-data", "__pycache__")


def planted(copy: Path, mutant: Mutant) -> dict[Path, str]:
    """Writes the fault; the texts that were there."""
    before: dict[Path, str] = {}
    for path, old, new in (*ALWAYS, *mutant.places):
        at = copy / path
        text = at.read_text()
        before.setdefault(at, text)
        at.write_text(text.replace(old, new))
    return before


def tried(copy: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether a test fails, and what pytest said last."""
    before = planted(copy, mutant)
    words = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not serial and not fuzz", *mutant.tests)
    done = subprocess.run(
        (sys.executable, "-m", "pytest", *words),
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # a fault of the same length must not meet its neighbour's
    )
    for at, text in before.items():
        at.write_text(text)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode == FAILED, (lines or done.stdout.splitlines() or [""])[-1]


def main(names: list[str]) -> int:
    chosen = [one for one in MUTANTS if not names or one.name in names]
    if unknown := {*names} - {one.name for one in MUTANTS}:
        print(f"no mutant is called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    copies: queue.Queue[Path] = queue.Queue()

    def run(mutant: Mutant) -> bool:
        copy = copies.get()
        caught, said = tried(copy, mutant)
        copies.put(copy)
        print(
            f"{'caught' if caught else 'NOT CAUGHT':<11} {mutant.name:<24} {mutant.fault}\n{'':<12}{said}", flush=True
        )
        return caught

    with tempfile.TemporaryDirectory(prefix="ocs-mutants-") as folder:
        for number in range(COPIES):
            at = Path(folder) / str(number)
            shutil.copytree(ROOT, at, ignore=LEFT_OUT)
            copies.put(at)
        with ThreadPoolExecutor(COPIES) as pool:
            results = [*pool.map(run, chosen)]
    print(f"{sum(results)} of {len(results)} caught")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
