"""CPU time of the server's processes, by what they do, from /proc."""

import os
from collections import defaultdict
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
ROLES = ("worker", "keeper", "api", "supervisor", "redis", "postgres")


def cpu_s(root: int) -> dict[str, float]:
    """Seconds of CPU by role of a process and all below it, children that ended included."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for pid in [root, *below(root)]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            role = "supervisor" if pid == root else _role(pid)
        except OSError:
            continue  # it ended meanwhile
        seconds[role] += sum(map(int, fields[11:13])) / TICKS
        if role == "postgres":  # its backends come and go
            seconds[role] += sum(map(int, fields[13:15])) / TICKS
    return seconds


def own_cpu_s(pid: int) -> float:
    """Seconds of CPU of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


def children(root: int, *words: str) -> list[int]:
    """Children of a process whose command line has all these words, oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
            if parent == root and all(word in line for word in words):
                found.append(int(entry.name))
    return sorted(found)


def below(root: int) -> list[int]:
    """All descendants."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _role(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    for name, role in ((b"postgres", "postgres"), (b"valkey", "redis"), (b"redis", "redis")):
        if name in command:
            return role
    return "python"  # worker, keeper and api look alike from outside; /metrics tells them apart


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return {"cores": len(os.sched_getaffinity(0)), "cpu": model, "kernel": os.uname().release}
