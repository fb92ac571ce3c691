"""Write the hash-locked requirement files from pyproject.toml: `make lock`, `make lock ARGS=--upgrade`.

Universal locks: one file serves every Python and platform we support, through environment markers. No index URL is
written, so an install asks whatever index the machine is configured for, and the hashes decide.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
UV = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-emit-index-url"]
FLAGS = ["--python-version", "3.11", "--custom-compile-command", "make lock"]

# dev.txt is held to runtime.txt, so that tests run on exactly what is deployed.
LOCKS = {
    "runtime.txt": ["pyproject.toml"],
    "build.txt": ["--group", "build", "--constraint", "requirements/runtime.txt"],
    "dev.txt": ["pyproject.toml", "--group", "dev", "--group", "build", "--constraint", "requirements/runtime.txt"],
}


def main(extra: list[str]) -> None:
    for name, what in LOCKS.items():
        out = HERE / name
        subprocess.run([*UV, *FLAGS, *extra, *what, "--output-file", str(out)], cwd=HERE.parent, check=True)
        print(f"{out.relative_to(HERE.parent)}: {sum('==' in line for line in out.read_text().splitlines() if line[:1].isalpha())} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
