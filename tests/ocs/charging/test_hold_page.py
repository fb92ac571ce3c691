"""The worked session of docs/hold.md: the table is read from the page, and played."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from balances.keys import session_key
from balances.structs.posting import Expire
from balances.structs.session import SessionState
from tests.ocs.charging.wire import E, I, T, U, codes, lines, mscc  # noqa: F401
from tests.ocs.charging.world import World

PAGE = Path(__file__).parents[3] / "docs" / "hold.md"
MB = 2**20
STATES = {
    "open": SessionState.OPEN,
    "abandoned": SessionState.ABANDONED,
    "closed": SessionState.CLOSED,
}


def rows() -> list[list[str]]:
    text = PAGE.read_text().partition("## One session, worked")[2].partition("\n## ")[0]
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return found[2:]


def test_the_worked_session_of_the_page() -> None:
    world, number = World(), 0
    sent: dict[str, Any] = {}
    assert len(rows()) >= 7
    for asked, answered, amount, held, state in rows():
        if asked.startswith("nobody reports"):
            world.now_ms += 2 * 600_000
            session = world.model.sessions["a1"][session_key("gw.example.net;1700000000;1")]
            world.model.expire(Expire("a1", session.id, world.now_ms))
        else:
            world.now_ms += 1_000
            if "again" not in asked:
                used = re.search(r"used ([\d.]+)", asked)
                octets = {"cc_total_octets": int(Decimal(used[1]) * MB)} if used else None
                wish: dict[str, Any] = {"ask": {}} if "wants" in asked else {}
                kind = {"I": I, "U": U, "T": T}[asked[0]]
                line = mscc(10, **wish, **({"used": octets} if octets else {}))
                sent = {"kind": kind, "cc_request_number": number, **lines(line)}
                number += 1
            answer = world.send(sent["kind"], **{name: value for name, value in sent.items() if name != "kind"})
            if answered[:1].isdigit():
                assert codes(answer)[0] == int(answered[:4]), asked
            if "10 MB" in answered:
                (line,) = answer.multiple_services_credit_control
                assert line.granted_service_unit.cc_total_octets == 10 * MB, asked
        words = re.match(r"[\d.]+", amount)
        assert words is not None
        assert Decimal(world.balance()) / 1_000_000 == Decimal(words[0]), asked
        worth = re.match(r"[\d.]+", held)
        assert worth is not None
        assert Decimal(world.held()) / 1_000_000 == Decimal(worth[0]), asked
        session = world.model.sessions["a1"][session_key("gw.example.net;1700000000;1")]
        assert session.state == STATES[state.split()[0]], asked
