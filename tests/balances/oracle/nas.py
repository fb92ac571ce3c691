"""A NAS that runs sessions by itself, in stories: packets that are lost, come late or overtake each other, ids that are
given again, sessions with our Class and without."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hypothesis import strategies as st

from balances.structs.charge import Course, Cumulative, Phase, UsageReport
from tariffs.units import Kind
from tests.balances.oracle.stories import (
    MINUTE,
    Story,
    Wait,
    bonuses,
    changes,
    ladders,
    take_outs,
    thresholds,
    top_ups,
)

PHASES = {Course.BEGINS: Phase.START, Course.GOES_ON: Phase.UPDATE, Course.ENDS: Phase.STOP}
LOST, KEPT, SENT = "lost", "kept", "sent"


@dataclass(frozen=True)
class NasPacket:
    session: int
    """0 carries our Class, 1 never does, 2 now and then."""
    course: Course
    used: tuple[int, int]
    """Of each direction since the packet before."""
    fate: str = SENT
    """"lost"; "kept": another one overtakes it; "sent", and what was kept goes with the next."""
    reuses: bool = False
    """The NAS has forgotten the session: its id is of another one, from 0."""
    bare: bool = False
    """Without Class, where the session may be."""
    ladder: int = 0


class NasReport(NamedTuple):
    session: str
    phase: Phase
    asked: int
    usage: list[UsageReport]
    fields: dict[str, Any]


@dataclass
class NasSession:
    began_ms: int
    token: str
    counters: tuple[int, int] = (0, 0)
    kept: list[NasReport] = field(default_factory=list)


class NaiveNas:
    def __init__(self) -> None:
        self.sessions: dict[int, NasSession] = {}
        self.begun = 0

    def report(self, packet: NasPacket, now_ms: int) -> NasReport | None:
        """What is sent; None: nothing now."""
        session = self.sessions.get(packet.session)
        if session is None or packet.reuses:
            self.begun += 1
            kept = session.kept if session else []
            session = self.sessions[packet.session] = NasSession(now_ms, f"t{self.begun}", kept=kept)
        used = (0, 0) if packet.course is Course.BEGINS else packet.used
        session.counters = (session.counters[0] + used[0], session.counters[1] + used[1])
        made = self._made(packet, session, now_ms)
        if packet.fate == SENT and session.kept and packet.used[0] == 0:
            return session.kept.pop()  # this one is lost instead
        if packet.fate == KEPT:
            session.kept.append(made)
        return made if packet.fate == SENT else None

    @staticmethod
    def _made(packet: NasPacket, session: NasSession, now_ms: int) -> NasReport:
        bare = packet.session == 1 or (packet.session == 2 and packet.bare)
        lasted_s = (now_ms - session.began_ms) // 1_000
        usage = [
            UsageReport(-1, shown, -1, -1, now_ms, 0, [Cumulative(place, per_second=2**40)])
            for place, shown in enumerate(session.counters, 1)
            if packet.course is not Course.BEGINS
        ]
        fields: dict[str, Any] = {
            "event_ms": now_ms,
            "course": packet.course,
            "began_ms": now_ms - lasted_s * 1_000,
            "lasted_s": lasted_s,
            "token": "" if bare else session.token,
            "countable": False,
        }
        phase = Phase.RECORD if bare else PHASES[packet.course]
        asked = -1 if packet.course is Course.ENDS else 100
        return NasReport(f"nas;{packet.session}", phase, asked, usage, fields)


@st.composite
def nas_packets(draw: st.DrawFn, ladder_count: int) -> NasPacket:
    course = draw(st.sampled_from((Course.GOES_ON,) * 5 + (Course.BEGINS, Course.BEGINS, Course.ENDS)))
    return NasPacket(
        draw(st.sampled_from((0, 0, 1, 1, 2))),
        course,
        (draw(st.sampled_from((0, 10, 60, 250))), draw(st.sampled_from((0, 0, 30)))),
        draw(st.sampled_from((SENT, SENT, SENT, SENT, KEPT, LOST))),
        draw(st.integers(0, 3)) == 0,
        draw(st.integers(0, 3)) == 0,
        draw(st.integers(0, ladder_count - 1)),
    )


@st.composite
def nas_stories(draw: st.DrawFn, *, length: int = 16) -> Story:
    """Between two packets a second passes at least; a story is too short for a session to be forgotten."""
    found = tuple(draw(st.lists(ladders(Kind.OCTETS, limited=True), min_size=1, max_size=2)))
    packet = nas_packets(len(found))
    for_ever = bonuses((Kind.MONEY, Kind.OCTETS)).map(lambda one: replace(one, begins=0, lasts=0))
    short = st.sampled_from((1_500, 30_700, MINUTE)).map(Wait)
    rare = st.one_of(top_ups, take_outs, changes, for_ever)
    actions: list[Any] = []
    for _ in range(draw(st.integers(6, length))):
        actions += [draw(rare if draw(st.integers(0, 4)) == 4 else packet), draw(short)]
    return Story(
        draw(st.sampled_from((0, 0, 100))),
        draw(thresholds),
        draw(st.sampled_from((500, 0, 100, 5_000))),
        found,
        tuple(actions),
    )
