"""The load client in C (`rocc.c`), where a compiler is: a few microseconds of CPU a request, so that on few cores the
server is what is measured. Our own client takes ten times that, and its share of the machine with it."""

import asyncio
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from loadtest.subscriber import subscriber
from tests.bench.server import BenchServer

SOURCE: Final = Path(__file__).with_name("rocc.c")
WARM_S: Final = 3
CONNECTIONS: Final = 4
DIGITS: Final = 8
"""Of an IMSI: the subscriber's number; what stands before it is the same for all."""


class Driven(NamedTuple):
    ccr_s: float
    p50_ms: float
    p99_ms: float
    bad: int
    """Answers other than 2001, of requests and of their lines."""


def compiler() -> str | None:
    return shutil.which("cc")


def build(home: Path) -> Path:
    """The program, compiled into this directory."""
    if (cc := compiler()) is None:
        raise SystemExit("there is no C compiler here")
    program = home / "rocc"
    subprocess.run([cc, "-O2", "-w", "-o", program, SOURCE], check=True)
    return program


async def driven(
    server: BenchServer, subscribers: int, seconds: float, *, in_flight: int = 64, rate: int = 0
) -> Driven | None:
    """So many requests outstanding, or `rate` a second; None where there is no compiler. Sessions are ended."""
    if compiler() is None:
        return None
    with tempfile.TemporaryDirectory(prefix="ocs-rocc-") as home:
        program = build(Path(home))
        text = await run(program, arguments(server.diameter_port, subscribers, seconds, in_flight, rate))
    return read(text)


def arguments(port: int, subscribers: int, seconds: float, in_flight: int, rate: int) -> list[str]:
    prefix = subscriber(0).identities[1].decode()[:-DIGITS]
    load = ["-r", str(rate)] if rate else ["-n", str(in_flight)]
    # Half the subscribers at most have a session: it looks for a free one at random.
    who = [
        "-s",
        str(min(1_000, subscribers // 2)),
        "-S",
        str(subscribers - 1),
        "-i",
        prefix,
        "-W",
        str(DIGITS),
        "-I",
        "1",
        "-G",
        "10",
    ]
    return ["-p", str(port), "-c", str(CONNECTIONS), "-d", str(seconds), "-w", str(WARM_S), *load, *who]


def read(text: str) -> Driven:
    """Its last lines as numbers."""
    found = dict(re.findall(r"(\w+)=([\d.]+)", text))
    bad = int(found["all_bad"]) + int(found["mscc_not_2001"]) + int(found["unanswered"])
    return Driven(float(found["rate"]), float(found["p50"]), float(found["p99"]), bad)


async def run(program: Path, options: list[str]) -> str:
    child = await asyncio.create_subprocess_exec(program, *options, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    if child.returncode:
        raise SystemExit(f"rocc ended with {child.returncode}: {out.decode()}")
    return out.decode()
