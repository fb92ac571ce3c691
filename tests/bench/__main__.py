"""`make bench` = `python -m tests.bench`: the whole server beside its yardsticks; `micro` for the hot functions alone.

Numbers to compare, not to assert: the machine is shared, so each is printed beside the aim, a yardstick of the same
minute and the last recorded run.
"""

import argparse
import asyncio
from typing import Any

import uvloop
from rich.console import Console

from ocs.processes.embedded import Durability
from tests.bench import (
    backlog,
    idle,
    micro,
    money,
    octets,
    overload,
    platform,
    platform_octets,
    radius,
    radius_wire,
    rating,
    rerating,
    results,
    size,
    stores,
    whole,
)

DURABILITIES: tuple[Durability, ...] = ("always", "everysec")


def main() -> None:
    """Exit code 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=[
            "all",
            "whole",
            "micro",
            "rating",
            "rerating",
            "overload",
            "radius",
            "platform",
            "idle",
            "money",
            "size",
            "backlog",
            "stores",
        ],
        default="all",
    )
    parser.add_argument("--durability", choices=["always", "everysec", "both"], default="both")
    parser.add_argument("--subscribers", default="1000", metavar="N[,N]", help="1000,200000 shows whether cost is flat")
    parser.add_argument("--workers", default="1,2", metavar="N[,N]", help="1 shows what a second one is worth")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--accounts", type=int, default=100_000, help="of `size`")
    parser.add_argument("--sessions", type=int, default=20_000, help="of `size`")
    parser.add_argument("--records", type=int, default=300_000, help="of `backlog`")
    parser.add_argument("--save", action="store_true", help="later runs are compared with this one")
    options = parser.parse_args()
    console = Console(width=140)
    found: dict[str, Any] = {}
    if options.what in ("all", "micro"):
        found["micro"] = uvloop.run(octets.measure()) | uvloop.run(platform_octets.measure())
        found["micro"] |= uvloop.run(micro.measure()) | radius_wire.measure()
    if options.what in ("all", "rating"):
        found["rating"] = rating.measure()
    if options.what in ("all", "rerating"):
        found["rerating"] = asyncio.run(rerating.measure())
    if options.what in ("all", "whole"):
        found["whole"] = uvloop.run(_whole(options))
    if options.what in ("all", "overload"):
        found["overload"] = overload.rows(uvloop.run(overload.measure("always", options.seconds)))
    if options.what in ("all", "radius"):
        found["radius"] = uvloop.run(radius.measure(options.seconds))
    if options.what in ("all", "platform"):
        found["platform"] = uvloop.run(platform.measure(options.seconds))
    if options.what in ("all", "idle"):
        found["idle"] = asyncio.run(idle.measure(2 * options.seconds))
    if options.what in ("all", "money"):
        found["money"] = asyncio.run(money.measure(options.seconds))
    if options.what == "stores":  # four to six processes beside the server
        found["stores"] = asyncio.run(stores.measure(options.seconds))
    if options.what == "size":  # takes long, and as much memory as it is asked for
        found["size"] = asyncio.run(size.measure(options.accounts, options.sessions))
    if options.what == "backlog":  # takes minutes, and gigabytes
        found["backlog"] = asyncio.run(backlog.measure(options.records))
    results.show(console, found)
    if options.save:
        results.save(found)


async def _whole(options: argparse.Namespace) -> dict[str, Any]:
    durabilities: list[Durability] = [one for one in DURABILITIES if options.durability in (one, "both")]
    length = whole.Length(options.seconds, options.seconds, options.in_flight)
    found: dict[str, Any] = {}
    for durability in durabilities:
        yard = await whole.yard(durability, length)
        for subscribers in map(int, options.subscribers.split(",")):
            for workers in map(int, options.workers.split(",")):
                await asyncio.sleep(0.5)
                one = await whole.measure(durability, subscribers, length, workers)
                found[f"{durability} {subscribers}, {workers} workers"] = results.row(one, yard)
    return found


if __name__ == "__main__":
    main()
