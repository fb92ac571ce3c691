"""Who was refused, and lines of configuration that do admit them."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from balances import keys
from balances.ledger.reader import connect
from balances.redis.connection import RedisConnection
from ocs.clock import now_ms
from ocs.config.load import load
from ocs.config.tree import Config
from ocs.doctor.finding import Severity
from ocs.doctor.refused import admitting, examine_refused
from ocs.net.diameter.peers import Peers
from ocs.stores.refusal_book import KEPT_MAX, KEPT_MS, TOLD_MAX, RefusalBook, refusals

STRANGER, ADDRESS = 'gw"9.example.net', "192.0.2.7"


@pytest.fixture
async def book(redis_url: str) -> Any:
    link = RedisConnection(redis_url, now_ms=now_ms, unfenced=True)
    await link.start()
    yield RefusalBook(link, now_ms)
    await link.stop()


def configured(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "ocs.toml"
    file.write_text(text)
    return load(file, data=tmp_path)


PEER = '[[diameter.peers]]\norigin_host = "one.example.net"\naddresses = ["198.51.100.0/24"]\n'


def test_the_lines_for_an_unknown_peer_admit_it(tmp_path: Path) -> None:
    before = configured(tmp_path, PEER)
    why = Peers(before.diameter.peers).objection("gw9.example.net", ADDRESS, None)
    assert why
    text = admitting(before, "gw9.example.net", ADDRESS, why)
    after = configured(tmp_path, PEER + text)
    assert Peers(after.diameter.peers).objection("gw9.example.net", ADDRESS, None) == ""


def test_what_a_stranger_calls_itself_is_quoted() -> None:
    (peer,) = tomllib.loads(admitting(Config(), STRANGER, ADDRESS, "not in diameter.peers"))["diameter"]["peers"]
    assert peer == {"origin_host": STRANGER, "addresses": [ADDRESS]}


@pytest.mark.parametrize(("address", "certified"), [(ADDRESS, None), ("198.51.100.7", {"gw.example.com"})])
def test_the_lines_for_a_known_peer_admit_it(tmp_path: Path, address: str, certified: set[str] | None) -> None:
    before = configured(tmp_path, PEER)
    why = Peers(before.diameter.peers).objection("one.example.net", address, certified)
    assert why
    entry = tomllib.loads(PEER)["diameter"]["peers"][0] | tomllib.loads(
        admitting(before, "one.example.net", address, why)
    )
    lines = [f"{key} = {value!r}" for key, value in entry.items()]
    after = configured(tmp_path, "[[diameter.peers]]\n" + "\n".join(lines))
    assert Peers(after.diameter.peers).objection("one.example.net", address, certified) == ""


async def test_all_hosts_write_into_one_book(book: RefusalBook, redis_url: str) -> None:
    client: Any = connect(redis_url)
    for _ in range(3):
        book.note("peer", "gw9.example.net", ADDRESS, "not in diameter.peers")
    book.note("client", "192.0.2.9", "", "unknown address: no client has it")
    book.note("subscriber", "491700000001", "gw", "4012 no credit")
    await book.tell()
    book.note("peer", "gw9.example.net", ADDRESS, "not in diameter.peers")
    await book.tell()
    found = {one.refusal.kind: one for one in await refusals(client, now_ms())}
    assert found["peer"].times == 4
    assert found["client"].times == 1
    examined = {one.name: one.findings for one in await examine_refused(Config(), redis_url)}
    (peer,) = examined["Diameter peers refused"]
    assert peer.severity is Severity.WARNING
    assert 'origin_host = "gw9.example.net"' in peer.do
    assert "4 times" in peer.what
    (client_finding,) = examined["RADIUS clients refused"]
    assert 'address = "192.0.2.9"' in client_finding.do
    (person,) = examined["subscribers refused"]
    assert person.severity is Severity.NOTE
    assert "491700000001" in person.what
    await client.aclose()


async def test_it_is_bounded_and_forgets(book: RefusalBook, redis_url: str) -> None:
    client: Any = connect(redis_url)
    for number in range(TOLD_MAX + 5):
        book.note("subscriber", f"s{number}", "gw", "4012")
    await book.tell()
    assert await client.hlen(keys.REFUSALS) == TOLD_MAX
    for first in range(0, KEPT_MAX, TOLD_MAX):
        for number in range(TOLD_MAX):
            book.note("subscriber", f"t{first + number}", "gw", "4012")
        await book.tell()
    assert await client.hlen(keys.REFUSALS) == await client.zcard(keys.REFUSALS_LAST) == KEPT_MAX
    later = RefusalBook(book._command.__self__, lambda: now_ms() + KEPT_MS + 1)  # type: ignore[attr-defined]
    later.note("subscriber", "new", "gw", "4012")
    await later.tell()
    assert [one.refusal.who for one in await refusals(client, now_ms() + KEPT_MS + 1)] == ["new"]
    assert await client.hlen(keys.REFUSALS) == 1
    await client.aclose()


async def test_what_a_stranger_says_is_cut(book: RefusalBook, redis_url: str) -> None:
    client: Any = connect(redis_url)
    book.note("peer", "x" * 5_000, ADDRESS, "not in diameter.peers")
    await book.tell()
    (found,) = await refusals(client, now_ms())
    assert len(found.refusal.who) == 120
    await client.aclose()
