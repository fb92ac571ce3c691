"""What a server costs that nobody asks anything: CPU of each of its processes, in thousandths of a core."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from tests.bench import processes
from tests.bench.server import running

WARM_S = 10.0
"""Until what a start leaves to be done is done."""
CHILDREN = ("keeper", "api")
"""In the order in which the supervisor starts them; workers come after them."""


async def measure(seconds: float, *settings: str) -> dict[str, float]:
    """Thousandths of a core by role, and their sum."""
    async with running("durability=always", *settings) as server:
        await asyncio.sleep(WARM_S)
        before = cpu_ns(server.pid)
        await asyncio.sleep(seconds)
        after = cpu_ns(server.pid)
    found = {role: round((after[role] - before.get(role, 0)) / seconds / 1e6, 2) for role in after}
    return found | {"all": round(sum(found.values()), 2)}


def cpu_ns(root: int) -> dict[str, int]:
    """Nanoseconds on a CPU so far, by role."""
    spent: defaultdict[str, int] = defaultdict(int)
    for pid, role in roles(root).items():
        try:
            tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        except OSError:
            continue  # it ended meanwhile
        spent[role] += sum(int(text.split()[0]) for text in tasks)
    return spent


def roles(root: int) -> dict[int, str]:
    """What each process of a server does, by pid."""
    found = {root: "supervisor"}
    children = 0
    for pid in sorted(processes.below(root)):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"ocs.processes" in command:
            found[pid], children = CHILDREN[children] if children < len(CHILDREN) else "worker", children + 1
        else:
            found[pid] = "postgres" if b"postgres" in command else "redis"
    return found
