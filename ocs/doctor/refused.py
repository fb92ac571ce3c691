"""Who was refused lately, and the lines of configuration that would admit them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from balances.ledger.reader import STORE_AWAY, connect
from ocs.clock import now_ms
from ocs.config.diameter import PeerConfig
from ocs.config.tree import Config
from ocs.doctor.finding import DoctorFinding, Examined, note, warning
from ocs.net.diameter.node import CONNECTED_ALREADY
from ocs.stores.refusal_book import RefusalRecord, refusals

WAIT_S: Final = 5.0
LATELY_MS: Final = 3_600_000
SHOWN: Final = 10


async def examine_refused(config: Config, url: str) -> list[Examined]:
    redis: Any = connect(url)
    try:
        async with asyncio.timeout(WAIT_S):
            found = await refusals(redis, now_ms())
    except STORE_AWAY:
        return []  # said already
    finally:
        await redis.aclose()
    lately = [one for one in found if one.last_ms >= now_ms() - LATELY_MS]
    peers = [_peer(config, one) for one in lately if one.refusal.kind == "peer"]
    clients = [_client(config, one) for one in lately if one.refusal.kind == "client"]
    people = _people([one for one in lately if one.refusal.kind == "subscriber"])
    return [
        Examined("Diameter peers refused", peers[:SHOWN], _rest(len(peers))),
        Examined("RADIUS clients refused", clients[:SHOWN], _rest(len(clients))),
        Examined("subscribers refused", people),
    ]


def _rest(count: int) -> list[str]:
    return [f"{count} in the last hour"] + ([f"the {SHOWN} newest are shown"] if count > SHOWN else [])


def _often(one: RefusalRecord) -> str:
    ago_s = max((now_ms() - one.last_ms) // 1_000, 0)
    return f"{one.times} times within a day, last {ago_s} s ago"


def _peer(config: Config, one: RefusalRecord) -> DoctorFinding:
    host, address, why = one.refusal.who, one.refusal.by, one.refusal.why
    if why == CONNECTED_ALREADY:
        known = _configured(config, host)
        most = (known.connections if known is not None else 1) + 1
        do = f"if it may have several at once, in its [[diameter.peers]] entry: connections = {most}"
    else:
        do = f"if it is yours, in ocs.toml, then restart:\n{admitting(config, host, address, why)}"
    return warning(f"{host} from {address}: {why} ({_often(one)})", "what it sends is not charged", do, "OcsPeerDown")


def admitting(config: Config, host: str, address: str, why: str) -> str:
    """TOML that admits a peer that was refused for this reason: a new entry, or what its own has to say."""
    known = _configured(config, host)
    if known is None:
        lines = ["[[diameter.peers]]", f"origin_host = {json.dumps(host)}", f"addresses = [{json.dumps(address)}]"]
        return "\n".join(lines)
    if "certificate is for" in why:
        name = why.partition("certificate is for ")[2].partition(",")[0]
        return f"# in the entry of {known.origin_host}:\ntls_subject = {json.dumps(name)}"
    addresses = [*known.addresses, address]
    return f"# in the entry of {known.origin_host}:\naddresses = {json.dumps(addresses)}"


def _configured(config: Config, host: str) -> PeerConfig | None:
    return next((peer for peer in config.diameter.peers if peer.origin_host.lower() == host.lower()), None)


def _client(config: Config, one: RefusalRecord) -> DoctorFinding:
    address, name, why = one.refusal.who, one.refusal.by, one.refusal.why
    if name:
        do = _of_a_client(config, name, why)
        return warning(
            f"packets of {address} ({name}) are dropped: {why} ({_often(one)})",
            "it gets no answer",
            do,
            "OcsTrafficGone",
        )
    lines = [
        "[[radius.clients]]",
        f"address = {json.dumps(_network(address))}",
        'secret = "file:/etc/ocs/radius.secret"',
    ]
    text = "\n".join(lines)
    return warning(
        f"packets from {address} are dropped: it is no RADIUS client ({_often(one)})",
        "who logs in there gets no answer, and what is used there is not charged",
        f"if it is yours, in ocs.toml, then restart:\n{text}",
        "OcsTrafficGone",
    )


def _of_a_client(config: Config, name: str, why: str) -> str:
    if why.startswith("authenticator"):
        return "the shared secret differs: compare `secret` of its [[radius.clients]] entry with what it has"
    if why.startswith("rate"):
        most = max((one.rate_max for one in config.radius.clients if one.name == name), default=0)
        return f"if so many are usual, in its [[radius.clients]] entry: rate_max = {2 * most}"
    return f"`ocs radius clients` says what {name} sends; docs/radius.md what is demanded of it"


def _network(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def _people(found: Sequence[RefusalRecord]) -> list[DoctorFinding]:
    """By reason; nobody is refused for nothing, so it is a note, and the alerts say when it is more than usual."""
    by_reason: dict[tuple[str, str], list[RefusalRecord]] = {}
    for one in found:
        by_reason.setdefault((one.refusal.why, one.refusal.by), []).append(one)
    reasons = sorted(by_reason.items(), key=lambda pair: -sum(one.times for one in pair[1]))
    return [
        note(
            f"{why}, by {by or 'a peer'}: {sum(one.times for one in those)} times, of {_names(those)}",
            "their requests were refused",
            f"ocs trace --subscriber {json.dumps(those[0].refusal.who)} shows the next one",
            _section(why),
        )
        for (why, by), those in reasons[:SHOWN]
    ]


def _names(those: Sequence[RefusalRecord]) -> str:
    some = ", ".join(one.refusal.who for one in those[:3])
    return some + (f" and {len(those) - 3} more" if len(those) > 3 else "")


def _section(why: str) -> str:
    code = why.partition(" ")[0]
    return {"5030": "OcsUnknownUsers", "5031": "OcsNotPriced"}.get(code, "")
