"""`ocs trace`"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import click

from ocs.cli.given import given
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.pcap import WINDOW_US, PcapWriter
from ocs.cli.remote import Remote, RequestRefused, remote

PORTS: Final = {3868, 1812, 1813}
"""Those that Wireshark knows."""
SENT_OVER_UDP: Final = "radius"


@click.command()
@click.option("--subscriber", callback=given, help="Id, or an identity in any spelling; also of nobody known.")
@click.option("--peer", callback=given, help="Origin-Host, address, RADIUS client, or caller of HTTP charging.")
@click.option("--session", callback=given, help="Session-Id, or our key of the session.")
@click.option("--pcap", metavar="FILE", help="Write what is seen for Wireshark; - is the standard output.")
@click.option("--brief", is_flag=True, help="Only what was decided, without the messages.")
@click.option("--count", type=click.IntRange(1), help="End after so many.")
@click.option("--list", "listing", is_flag=True, help="Who traces whom now; traces nothing.")
@json_option
@remote
def trace(
    server: Remote,
    subscriber: str | None,
    peer: str | None,
    session: str | None,
    pcap: str | None,
    brief: bool,
    count: int | None,
    listing: bool,
    as_json: bool,
) -> None:
    """Requests as they are served: decoded, decided, with the time of each step.

    Of all processes of all hosts, as it happens, until Ctrl-C. Needs the permission traces.watch; who traced whom is on
    the audit trail. Passwords and shared secrets are never shown.
    """
    if listing:
        _list(server, as_json)
        return
    wanted = {name: text for name, text in (("subscriber", subscriber), ("peer", peer), ("session", session)) if text}
    if len(wanted) != 1:
        raise click.UsageError("one of --subscriber, --peer and --session")
    if pcap == "-" and as_json:
        raise click.UsageError("--pcap - and --json both go to the standard output")
    begun = server.post("traces", body=wanted)
    try:
        with _capture(pcap) as writer, contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch(server, begun, writer, brief, count, as_json, quiet=pcap == "-"))
    finally:
        with contextlib.suppress(RequestRefused):  # it ends by itself
            server.ask("DELETE", "traces", begun["id"])


def _list(server: Remote, as_json: bool) -> None:
    def table(found: Any) -> None:
        rows(
            "traces",
            ("id", "caller", "began", "subscriber", "peer", "session"),
            [tuple(one[name] or "" for name in ("id", "caller", "began", "subscriber", "peer", "session"))
             for one in found["items"]],
        )  # fmt: skip

    show(server.get("traces"), as_json, table)


@contextlib.contextmanager
def _capture(name: str | None) -> Iterator[PcapWriter | None]:
    if name is None:
        yield None
    elif name == "-":
        yield PcapWriter(sys.stdout.buffer)
    else:
        file: IO[bytes]
        try:
            file = Path(name).open("wb")  # noqa: SIM115  closed below
        except OSError as why:
            raise RequestRefused(f"{name}: {why.strerror}") from None
        with file:
            writer = PcapWriter(file, WINDOW_US)
            try:
                yield writer
            finally:
                writer.end()


async def _watch(
    server: Remote,
    begun: dict[str, Any],
    writer: PcapWriter | None,
    brief: bool,
    count: int | None,
    as_json: bool,
    *,
    quiet: bool,
) -> None:
    if not as_json:
        whom = f", known as {', '.join(begun['identities'])}" if begun["identities"] else ""
        say(f"trace {begun['id']} is watching{whom}; Ctrl-C ends it", err=True)
        if begun["known"] is False:
            say(
                f"nobody is known by {begun['subscriber']}: what comes for it is shown, and why it is refused", err=True
            )
    seen, lost, hinted = 0, 0, set[int]()
    async for text in server.follow("traces", begun["id"], query={}, last_id=""):
        one = json.loads(text)
        if writer is not None:
            _write(writer, one, hinted)
        if as_json:
            say(text)
        elif not quiet:
            for line in told(one, brief):
                say(line)
        if one["dropped"] + one["missed"] > lost:
            lost = one["dropped"] + one["missed"]
            say(f"{lost} requests were not shown: there were too many at once", err=True)
        seen += 1
        if seen == count:
            return


def _write(writer: PcapWriter, one: dict[str, Any], hinted: set[int]) -> None:
    """HTTP has no octets to be written: only its bodies are known."""
    if one["protocol"] == "http":
        return
    local, remote = tuple(one["local"]), tuple(one["remote"])
    for message, is_ours in (
        (one["request"], one["ours"]),
        (one["answer"], one["ours"] ^ (one["request"] is not None)),
    ):
        if message is not None:
            source, target = (local, remote) if is_ours else (remote, local)
            writer.put(
                message["at_us"], one["protocol"] != SENT_OVER_UDP, source, target, base64.b64decode(message["octets"])
            )
    port = local[1]
    if not {local[1], remote[1]} & PORTS and port not in hinted:
        hinted.add(port)
        kind = "udp" if one["protocol"] == SENT_OVER_UDP else "tcp"
        say(f"tell Wireshark what port {port} is: -d {kind}.port=={port},{one['protocol']}", err=True)


def told(one: dict[str, Any], brief: bool) -> Iterator[str]:
    """A request, its answer and what was decided, for people."""
    request, answer = one["request"], one["answer"]
    first = request or answer
    arrow = "<-" if one["ours"] else "->"
    remote = f"{one['remote'][0]}:{one['remote'][1]}"
    about = f" session {one['session']}" if one["session"] else ""
    ends = f"{one['peer']} ({remote}) {arrow} {one['host']} {one['process']}"
    yield f"{_clock(first['at_us'])} {one['protocol']} {ends}{about}"
    if one["identities"]:
        yield f"  of {', '.join(one['identities'])}"
    if request is not None and not brief:
        yield "  request:"
        yield from (f"    {line}" for line in request["decoded"])
    for call in one["calls"]:
        yield from _decided(call)
    if answer is not None:
        if not brief:
            yield f"  answer at {_clock(answer['at_us'])}:"
            yield from (f"    {line}" for line in answer["decoded"])
    elif one["silent"]:
        yield f"  no answer: {one['silent']}"
    steps = [f"{name} {us} us" for name, us in one["times"].items() if us is not None]
    if one["calls"] or (request is not None and answer is not None):
        yield f"  time: {', '.join(steps)}"


def _decided(call: dict[str, Any]) -> Iterator[str]:
    said = call["error"] or call["status"] or "no reply"
    about = f"{call['phase']} of {call['service'] or 'no service'}, {call['subscriber']} paid by {call['account']}"
    yield f"  store: {about}: {said}" + (f" ({', '.join(call['marks'])})" if call["marks"] else "")
    for line in call["lines"]:
        group = "" if line["rating_group"] < 0 else f"group {line['rating_group']} "
        service = "" if line["service_id"] < 0 else f"service {line['service_id']} "
        used = f"reported {'; '.join(line['reported'])}, " if line["reported"] else ""
        yield f"    {group}{service}{used}asked {line['asked'] or 'nothing'} of {line['unit']}: {_of_line(line)}"
        if line["tariff"]:
            yield f"      tariff {line['tariff']}"
        yield from (f"      {step}" for step in line["price"])
    if call["balance"] is not None:
        yield f"    {call['result']}: debited {call['cost']}, own money after it {call['balance']}"


def _of_line(line: dict[str, Any]) -> str:
    said = [line["result"] or "nothing was said"]
    if line["granted"]:
        said.append(f"granted {line['granted']} for {line['validity_s']} s" + (", the last" if line["final"] else ""))
    if line["cost"] is not None:
        said.append(f"cost {line['cost']}, the line so far {line['session_cost']}")
    return ", ".join(said)


def _clock(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%H:%M:%S.%f")
