"""What a process sees for those who trace, and how much of it."""

import asyncio
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.redis.pending import Pending
from ocs.clock import monotonic_us, now_ms
from ocs.tracing.matching import SESSIONS_MAX, WatchedFor, WhoAndWhat
from ocs.tracing.sighting import Sighting, read_sighting
from ocs.tracing.tracer import UNDER_WAY_MAX, Tracer
from ocs.tracing.wish import TraceWish, pack_wish
from protocol.radius.dictionary import ATTRIBUTES

WHO = ("msisdn:491700000001", "mac:0011223344aa", "username:Anna@example.net")
SESSION = "gw.example.net;1;7"


class PublishLink:
    """A live store that replies when told."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, Sighting]] = []
        self.waiting: list[Pending[Any]] = []

    def command(self, *words: str | bytes | int) -> Pending[Any]:
        name, channel, packed = words
        assert name == "PUBLISH"
        assert isinstance(packed, bytes)
        self.published.append((channel, read_sighting(packed)))
        self.waiting.append(Pending())
        return self.waiting[-1]


def wish(trace: str = "t1", until_ms: int | None = None, **about: Any) -> TraceWish:
    return TraceWish(trace, "anna", 0, now_ms() + 60_000 if until_ms is None else until_ms, **about)


def told(*wishes: TraceWish) -> list[Any]:
    return [[part for one in wishes for part in (one.id.encode(), pack_wish(one))]]


def ask_of(who: WhoAndWhat | None) -> Any:
    def ask() -> WhoAndWhat | None:
        ask.asked += 1  # type: ignore[attr-defined]
        return who

    ask.asked = 0  # type: ignore[attr-defined]
    return ask


def sees(one: WatchedFor, octets: bytes, who: WhoAndWhat | None, session_id: bytes = b"") -> bool:
    return one.wants(octets, octets.lower(), session_id, ask_of(who))


@pytest.mark.parametrize(
    ("octets", "who", "wanted"),
    [
        (b"...491700000001...", (("msisdn:491700000001",), "s"), True),
        (b"tel:+49-170-000-0001", (("msisdn:491700000001",), "s"), True),
        (b"...00:11:22:33:44:AA", (("mac:0011223344aa",), "s"), True),
        (b"...0011.2233.44aa", (("mac:0011223344aa",), "s"), True),
        (b"...ANNA@example.net", (("username:Anna@example.net",), "s"), True),
        (b"called 491700000001", (("msisdn:491709999999",), "s"), False),  # the other party
        (b"...0001 of nobody", None, False),
    ],
)
def test_whose_requests_are_seen(octets: bytes, who: WhoAndWhat | None, wanted: bool) -> None:
    assert sees(WatchedFor(wish(identities=WHO)), octets, who) is wanted


def test_what_cannot_be_about_them_is_not_decoded() -> None:
    one, ask = WatchedFor(wish(identities=WHO, session=SESSION)), ask_of((WHO, "s"))
    assert not one.wants(b"491709999999", b"491709999999", b"other;1", ask)
    assert ask.asked == 0


def test_a_session_is_followed_once_it_was_seen() -> None:
    one = WatchedFor(wish(identities=WHO))
    update = b"an update that names nobody"
    assert not sees(one, update, ((), SESSION), SESSION.encode())
    assert sees(one, b"491700000001", (WHO, SESSION), SESSION.encode())
    assert sees(one, update, ((), SESSION), SESSION.encode())
    assert not sees(one, update, ((), "other"), b"other")


def test_a_session_of_radius_is_found_by_its_number_and_is_no_other_one() -> None:
    one = WatchedFor(wish(session="radius:bras:bras1;0007"))
    assert sees(one, b"...0007...", ((), "radius:bras:bras1;0007"))
    assert not sees(one, b"...0007...", ((), "radius:bras:bras2;0007"))


def test_sessions_that_are_learnt_are_bounded() -> None:
    one = WatchedFor(wish(identities=WHO))
    for number in range(SESSIONS_MAX + 10):
        one.learn(f"s{number}")
    assert sees(one, b"", None, b"s0")
    assert not sees(one, b"", None, f"s{SESSIONS_MAX}".encode())


def test_peers_compare_without_case() -> None:
    one = WatchedFor(wish(peer="GW.example.net"))
    assert one.wants_peer(("gw.EXAMPLE.net",))
    assert not one.wants_peer(("", "other.example.net"))
    assert not WatchedFor(wish(identities=WHO)).wants_peer(("",))


async def test_nobody_is_watched_unless_somebody_traces_and_for_as_long() -> None:
    tracer = Tracer(PublishLink(), "worker 0", ATTRIBUTES)
    tracer.looked([[]])
    assert not tracer.watched
    tracer.looked(told(wish("t1", peer="gw"), wish("over", until_ms=1, peer="gw")))
    assert [one.wish.id for one in tracer.watched] == ["t1"]
    learnt = tracer.watched[0]
    tracer.looked(told(wish("t1", peer="gw"), wish("t2", peer="gw")))
    assert tracer.watched[0] is learnt
    assert len(tracer.watched) == 2
    tracer.looked([[b"t9", b"\xc1"]])  # of another build
    assert not tracer.watched


async def test_what_there_is_no_room_for_is_counted_and_said() -> None:
    link = PublishLink()
    tracer = Tracer(link, "worker 0", ATTRIBUTES)
    tracer.looked(told(wish(peer="gw")))

    def seen() -> None:
        watched = tracer.wanting(b"octets", ("gw",), lambda: None)
        request = tracer.request(watched, "diameter", "gw", ("127.0.0.1", 3868), ("127.0.0.1", 4), monotonic_us())
        request.received(b"octets")
        request.over()
        request.over()  # once

    for _ in range(UNDER_WAY_MAX + 5):
        seen()
    assert len(link.published) == UNDER_WAY_MAX
    for pending in link.waiting:
        pending.resolve(1)
    tracer._second = 0  # another second
    seen()
    assert link.published[-1][0] == keys.trace_channel("t1")
    assert link.published[-1][1].dropped == 5


async def test_what_ends_without_an_answer_is_told_too() -> None:
    link = PublishLink()
    tracer = Tracer(link, "worker 0", ATTRIBUTES)
    tracer.looked(told(wish(peer="gw")))
    request = tracer.request(tracer.watched, "radius", "gw", ("127.0.0.1", 1813), ("127.0.0.1", 4), monotonic_us())

    async def fails() -> None:
        request.silent("fate unknown")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await request.watch(fails())
    assert request.is_under_way
    assert not link.published
    await asyncio.sleep(0)
    assert [one.why for _, one in link.published] == ["fate unknown"]


def test_a_wish_of_a_later_build_is_read() -> None:
    packed = msgspec.msgpack.encode(msgspec.to_builtins(wish(peer="gw")) | {"more": 1})
    tracer = Tracer(PublishLink(), "worker 0", ATTRIBUTES)
    tracer.looked([[b"t1", packed]])
    assert len(tracer.watched) == 1
