"""Random interleavings of every operation through Lua and model: same answers, same state, same records.

A failure prints the seed; `pytest -k seed<N>` replays it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random

import msgspec
import pytest

from balances import facts, keys
from balances.model import repeats, session
from balances.packing import fresh_account
from balances.redis import scripts
from balances.structs import session as kept
from balances.structs import table
from balances.structs.account import NEVER, Account, SuspendReasons, WeekHours
from balances.structs.blob import NO_BLOB, raw_of
from balances.structs.charge import (
    Action,
    Ask,
    Charge,
    Course,
    Cumulative,
    Flag,
    NextPrice,
    Phase,
    Result,
    Suspense,
    UsageReport,
)
from balances.structs.posting import (
    AccountClosing,
    AccountSettings,
    BucketExtension,
    BucketSetting,
    ClosingRest,
    CounterReturn,
    Expire,
    Fee,
    FeeFunds,
    FeeStep,
    FeeUnits,
    Post,
    Posting,
    Transfer,
)
from balances.structs.record import Entry
from balances.structs.session import WHOLE
from ocs.master.accounts import AccountRow, OpeningBucket
from ocs.master.opened import opened
from tariffs.ladder import Count, Ladder, Step, StepDues
from tariffs.units import EXACT_MAX, Kind
from tests.balances.random_thresholds import begin, random_services, random_thresholds
from tests.balances.twins import Twins, check_entries
from tests.servers import LiveValkey

TAGS = ("", '{"cashier":"7","channel":"web"}')
COURSES = {Phase.START: Course.BEGINS, Phase.UPDATE: Course.GOES_ON, Phase.STOP: Course.ENDS}
EDGES = (0, 1, 10**6, 10**14, 10**15 + 1)
ACCOUNT = "acc"
START_MS = 1_800_000_000_000


@pytest.fixture
def twins(redis_url: str) -> Iterator[Twins]:
    twins = Twins(redis_url)
    yield twins
    twins.close()


def random_dues(rng: Random) -> StepDues:
    least = rng.choice((0, 0, 0, 7, 120_000))
    most = rng.choice((0, 0, least + 1, least + 200_000))
    off = rng.choice((0, 0, 9, 150_000))
    rounding = rng.choice((0, 0, 7, 10_000)), rng.randrange(4)
    return StepDues(
        rng.choice((0, 0, 30_000)), rng.random() < 0.3, least, most, most > 0 and rng.random() < 0.5, off, *rounding
    )


def random_ladder(rng: Random, unit: int, now_ms: int) -> Ladder:
    """Anything rating may build: bundles, bounds of every sort, fees, odd fractions, tiers, caps, windows, grades."""
    steps = []
    for _ in range(rng.randrange(3)):
        single, grade = rng.random() < 0.2, rng.choice(("", "", "", "slow"))
        if rng.random() < 0.5 and unit != Kind.MONEY:
            block = rng.choice((1, 7, 60))
            steps.append(Step(unit, rng.choice(("", "data")), block, block, grade=grade, single=single))
        else:
            steps.append(
                Step(
                    Kind.MONEY,
                    rng.choice(("", "data")),
                    rng.choice((1, 10, 60)),
                    rng.choice((0, 1, 250, 50_000)),
                    rng.choice((1, 1, 3, 1000)),
                    rng.randrange(3),
                    reach=rng.choice((0, 60, 100)),
                    counter=rng.choice(("", "", "tier", "cap", "window", "once")),
                    counter_reach=rng.choice((100, 5_000, 100_000)),
                    until_ms=rng.choice((0, 0, now_ms + rng.randrange(-5_000, 200_000))),
                    stop=rng.random() < 0.1,
                    grade=grade,
                    single=single,
                )
            )
    steps.append(
        Step(Kind.MONEY, "data", rng.choice((1, 60, 1024)), rng.choice((0, 1, 999, 70_000)), 1, rng.randrange(3))
    )
    counts = []
    if rng.random() < 0.4:
        counts.append(Count("tier", 0, now_ms + rng.choice((60_000, 10**9))))
    if rng.random() < 0.3:
        counts.append(Count("cap", 1, 0, cap=rng.random() < 0.7))
    if rng.random() < 0.2:
        counts.append(Count("window", rng.randrange(2), window_ms=3_000_000))
    if rng.random() < 0.2:
        counts.append(Count("once", 0, window_ms=2_000_000, once=True))
    if rng.random() < 0.2:
        counts.append(Count("=octets", 0, now_ms + rng.choice((60_000, 10**9)), limit=rng.choice((0, 90, 5_000))))
    if rng.random() < 0.3:
        counts.append(Count("=spent", 1, limit=rng.choice((0, 2_000, 500_000, 10**8))))
    dues = [random_dues(rng) for _ in range(rng.choice((0, 0, 1, 2)))]
    return Ladder(
        tuple(msgspec.structs.replace(step, dues=rng.randint(0, len(dues))) for step in steps),
        tuple(dues),
        tuple(counts),
        tag=f"t@{rng.randrange(3)}",
        slack=rng.choice((0, 0, 1)),
        terms=rng.choice(("", "tax=190000")),
        sum_to=rng.choice((0, 0, 0, 7, 10_000)),
        sum_rounding=rng.randrange(4),
    )


def random_facts(rng: Random) -> list[facts.Fact]:
    """In their order: numbers and texts of every size that is packed in another way, of the session and of lines."""
    found: dict[tuple[int, int, int], facts.Fact] = {}
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5, 20))):
        line = rng.choice(((WHOLE, WHOLE), (WHOLE, WHOLE), (-1, -1), (10, -1), (2**32 - 1, 40_000)))
        number = rng.randrange(14)
        text = rng.choice(("", "a", "é", "\0|\t'", "x")) * rng.choice((1, 31, 32, 85, 256))
        value = rng.choice((0, -1, -200, 6, 127, 128, 70_000, 2**31, text.encode()[:256].decode(errors="ignore")))
        found[*line, number] = (*line, number, value)
    return [fact for _, fact in sorted(found.items())]


DAY_S = 86_400
PRICES = ((1, 1), (20_000, 60), (7, 13), (333, 1000), (60_000, 1))
CLOCK = [3_600, START_MS // 1_000 + 700, 7_200, START_MS // 1_000 + 4_000, -5_400]
"""One that is moved soon, twice."""


def random_hours(rng: Random) -> list[WeekHours]:
    """At the instants where the gateway is, mostly."""
    now_s = (START_MS // 1_000 + 3_600) % DAY_S
    begins = sorted(rng.choice((0, now_s + rng.randrange(-2_000, 6_000))) for _ in range(rng.choice((1, 1, 2))))
    return [WeekHours(rng.choice((127, 127, 1, 16, 85)), one, one + rng.choice((600, 3_000, DAY_S))) for one in begins]


class RandomGateway:
    """A gateway that now and then does everything field-notes.md has seen."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now_ms = START_MS
        self.numbers: dict[str, int] = {}
        self.sent: list[Charge] = []
        self.end_to_end = 0
        self.posts: list[Post] = []
        self.known: dict[str, bytes] = {}
        """What a worker believes of the facts of a session."""
        self.bundle_keys = 0
        self.days: dict[str, int] = {}
        """Of each fee the first day that was not asked for."""

    def tick(self) -> None:
        self.now_ms += self.rng.choice((0, 1, 1_000, 30_000, 700_000, 4_000_000 if self.rng.random() < 0.1 else 5))

    def ask(self, phase: Phase, action: Action) -> Ask:
        rng = self.rng
        unit = rng.choice((Kind.OCTETS, Kind.OCTETS, Kind.SECONDS, Kind.UNITS, Kind.MONEY))
        reports = []
        if phase in (Phase.UPDATE, Phase.STOP) or (phase == Phase.START and rng.random() < 0.1):
            for _ in range(rng.choice((0, 1, 1, 1, 2))):
                money, octets, seconds, units = (
                    rng.choice((-1, 0, 1, 59, 60, 61, 100, 1_000, 200_000)) for _ in range(4)
                )
                at_ms = self.now_ms - rng.choice((0, 0, 500, 40_000))
                report = UsageReport(money, octets, seconds, units, at_ms, rng.choice((0, 0, 1, 2)))
                if rng.random() < 0.15:
                    rate, wraps_at = rng.choice((0, 1, 1_000, 10**9)), rng.choice((0, 0, 1_000, 2**32))
                    report.cumulative = [Cumulative(rng.choice((1, 1, 2)), wraps_at, rate, rng.choice((0, 0, 500)))]
                reports.append(report)
        ladder = dearest = NO_BLOB
        if rng.random() < 0.97:
            ladder = raw_of(msgspec.msgpack.encode(random_ladder(rng, unit, self.now_ms)))
            if rng.random() < 0.2:
                dearest = raw_of(msgspec.msgpack.encode(random_ladder(rng, unit, self.now_ms)))
        return Ask(
            rng.choice((10, 10, 20, -1)),
            rng.choice((-1, -1, 1)),
            unit,
            reports,
            rng.choice((-1, 0, 0, 1, 60, 100, 5_000)) if phase != Phase.STOP else -1,
            default=100,
            minimum=rng.choice((1, 60, 100)),
            maximum=rng.choice((1_000, 100_000)),
            priority=rng.randrange(3),
            ladder=ladder,
            validity_ms=rng.choice((60_000, 600_000)),
            change_ms=rng.choice((0, self.now_ms + rng.choice((1, 40_000, 400_000)))),
            free=rng.random() < 0.05,
            emergency=rng.random() < 0.02,
            portal=rng.random() < 0.1,
            refusal=Result.OK if ladder is not NO_BLOB and rng.random() < 0.97 else Result.RATING_FAILED,
            whole=rng.random() < (0.5 if phase == Phase.EVENT else 0.1),
            until_ms=rng.choice((0, 0, self.now_ms + rng.choice((500, 100_000)))),
            dearest=dearest,
            blocks=rng.random() < 0.2,
            secondary=0,
            set_aside=rng.choice([*Suspense]) if rng.random() < 0.05 else Suspense.NONE,
            flags=rng.choice((0, 0, Flag.ROUNDED)),
            later=self.later(unit) if rng.random() < 0.3 else [],
            known_ms=rng.choice((0, 0, 0, self.now_ms + rng.choice((-30_000, 50_000)))),
        )

    def later(self, unit: int) -> list[NextPrice]:
        """What prices use by time afterwards, from some time before on."""
        at_ms, later = self.now_ms - self.rng.choice((0, 10**6, 10**9)), []
        for _ in range(self.rng.randrange(1, 4)):
            packed = msgspec.msgpack.encode(random_ladder(self.rng, unit, self.now_ms))
            later.append(NextPrice(at_ms, self.rng.choice((NO_BLOB, raw_of(packed), raw_of(packed)))))
            at_ms += self.rng.choice((30_000, 1_000_000))
        return later

    def rated(self, charge: Charge, from_ms: int) -> Charge:
        """Again, with what prices its use by time from then on."""
        for ask in charge.asks:
            if ask.unit == Kind.SECONDS or not ask.later or ask.later[0].from_ms > from_ms:
                ask.later = [NextPrice(from_ms, NO_BLOB), *(one for one in ask.later if one.from_ms > from_ms)]
        return charge

    def charge(self) -> Charge:
        rng = self.rng
        if self.sent and rng.random() < 0.2:  # a repeat, faithful or not
            again = rng.choice(self.sent[-8:])
            changes: dict[str, object] = {"now_ms": self.now_ms, "resend": rng.random() < 0.5}
            if rng.random() < 0.4:
                self.end_to_end += 1
                changes["end_to_end"] = self.end_to_end
            if rng.random() < 0.3:
                changes["fingerprint"] = str(rng.randrange(9))
            return msgspec.structs.replace(again, **changes)
        phase = rng.choice((Phase.START, Phase.UPDATE, Phase.UPDATE, Phase.UPDATE, Phase.STOP, Phase.EVENT))
        action = rng.choice((Action.DEBIT, Action.DEBIT, Action.REFUND, Action.CHECK, Action.PRICE))
        session = f"gw;{rng.randrange(4)}"
        if phase == Phase.EVENT:
            session = f"ev;{rng.randrange(6)}"
        number = self.numbers.get(session, 0)
        if rng.random() < 0.9:
            number += 1
            self.numbers[session] = number
        if phase == Phase.START:
            number = rng.choice((0, 0, 0, number))
        asks = [self.ask(phase, action) for _ in range(rng.choice((1, 1, 1, 2, 3, 0)))]
        if asks and phase != Phase.EVENT and rng.random() < 0.3:  # and what is charged beside one of them
            place = rng.randrange(len(asks))
            beside = msgspec.structs.replace(
                self.ask(phase, action),
                rating_group=asks[place].rating_group,
                service_id=asks[place].service_id,
                asked=asks[place].asked,
                secondary=1,
            )
            asks.insert(place + 1, beside)
        originals = [sent for sent in self.sent if sent.phase == Phase.EVENT and sent.action == Action.DEBIT]
        refund_of = rng.choice(originals).once_key if action == Action.REFUND and originals else ""
        self.end_to_end += 1
        charge = Charge(
            account=ACCOUNT,
            subscriber=rng.choice(("sub",) * 30 + ("other",)),
            session=session,
            service=rng.choice(("data", "data", "data", "voice")),
            phase=phase,
            number=number,
            key=f"{phase}:{number}",
            countable=rng.random() < 0.95,
            fingerprint=hashlib.blake2b(repr(asks).encode(), digest_size=4).hexdigest(),
            end_to_end=self.end_to_end,
            resend=rng.random() < 0.1,
            now_ms=self.now_ms - rng.choice((0, 0, 0, 900)),
            event_ms=self.now_ms,
            profile_rev=rng.choice((5, 5, 5, 5, 3)),
            asks=asks,
            peer=rng.choice(("gw", "gw", "other gw")),
            realm="r",
            via="dra",
            action=action,
            once_key=keys.event_key(session, number),
            remember_ms=3_600_000_000,
            idle_ms=7_200_000,
            single=rng.random() < 0.2,
            refund_of=refund_of,
            refund_free=rng.choice((0, 1_000)),
            refund_until_ms=self.now_ms + 10_000_000,
            origin_state=rng.choice((0, 5, 6)),
            identification=rng.choice(("", "", "01056a6f65", "2c0431")),
            actor=rng.choice(("", "admin")),
            reason=rng.choice(("", "call dropped")),
            reference=rng.choice(("", "ticket 7")),
            seek=phase in (Phase.UPDATE, Phase.STOP) and rng.random() < 0.5,
        )
        if phase != Phase.EVENT and rng.random() < 0.7:
            told = facts.pack(random_facts(rng))
            known = rng.choice((facts.merge(self.known.get(session, b""), told), told))
            self.known[session] = known
            charge.told, charge.facts = raw_of(told), raw_of(known)
        if phase != Phase.EVENT and rng.random() < 0.35:
            self.of_course(charge)
        if charge.phase == Phase.START and rng.random() < 0.3:
            charge.sessions_max = rng.choice((0, 1, 2, 3))
            charge.replaces = rng.choice(([], [], ["gw;1"], ["gw;0", "gw;2"]))
        self.sent.append(charge)
        return charge

    def of_course(self, charge: Charge) -> None:
        """A request of a session that its client runs by itself, of the same names as the others."""
        rng = self.rng
        charge.course = COURSES[Phase(charge.phase)]
        charge.session = f"gw;{rng.randrange(3)}"
        if rng.random() < 0.3:
            charge.phase = Phase.RECORD
        charge.countable, charge.key = False, f"{charge.phase}:0:{self.end_to_end}"
        charge.event_ms = self.now_ms - rng.choice((0, 0, 5_000, 90_000, 10**6))
        charge.lasted_s = rng.choice((-1, 0, 30, 90, 1_000))
        charge.began_ms = max(0, charge.event_ms - charge.lasted_s * 1_000) if charge.lasted_s >= 0 else 0
        charge.token = rng.choice(("", "", "a", "b", "c"))
        charge.adopts = rng.choice(("", "", "", "gw;3"))
        charge.restarted_ms = rng.choice((0, 0, charge.began_ms, charge.began_ms + 1_000, self.now_ms - 40_000))

    def post(self) -> Post:
        rng = self.rng
        if self.posts and rng.random() < 0.2:
            return rng.choice(self.posts)
        self.bundle_keys += 1
        postings = []
        for _ in range(rng.choice((1, 1, 2))):
            amount = rng.choice((*EDGES, 50_000, 200_000, -10_000, -(10**15)))
            if rng.random() < 0.5:
                postings.append(
                    Posting(0, Kind.MONEY, amount, rng.choice(("top-up", "voucher", "adjustment")), "topup")
                )
            else:
                until_ms = rng.choice((0, self.now_ms + 100_000, self.now_ms + 10**8))
                kind = rng.choice(tuple(Kind))
                postings.append(
                    Posting(
                        rng.choice((-1, -1, 1, 2)),
                        kind,
                        rng.choice((0, 90, 1_000, 100_000)),
                        "top-up",
                        "bundle",
                        rng.choice((10, 100, 200)),
                        rng.choice((0, self.now_ms + 50_000)),
                        until_ms,
                        rng.choice(([], ["data"], ["voice"])),
                        "b",
                        0 if until_ms else rng.choice((0, 50_000)),
                        bonus=rng.random() < 0.2,
                        member=rng.choice(("", "", "", "sub", "other")),
                    )
                )
        post = Post(
            ACCOUNT,
            rng.choice(("", f"k{self.bundle_keys}")),
            str(rng.randrange(2)),
            self.now_ms,
            10**9,
            "me",
            "because",
            "",
            postings,
            rng.random() < 0.3,
            keeps_held=rng.random() < 0.3,
            denied_in=rng.choice((0, 0, SuspendReasons.BARRED)),
            final=rng.random() < 0.3,
            transfer=rng.choice(("", "t1")),
            counterpart=rng.choice(("", "other")),
            counts=[Count(f"moved {what}", what, self.now_ms + 40_000, limit=rng.choice((-1, 3, 150_000)))]
            if (what := rng.choice((-1, -1, 0, 1))) >= 0
            else [],
            clock=CLOCK,
            moves_max=rng.choice(([], [], [-1, 0, -1, -1], [90_000, 5_000, 0, 0])),
            permits_debt=rng.random() < 0.3,
            extends=[BucketExtension("b", self.now_ms + rng.choice((-1, 60_000, 10**8)))] * (rng.random() < 0.3),
            resets=rng.choice(([], [], ["=spent"], ["none", "=octets", "=spent"])),
            tags=TAGS[self.bundle_keys % 2],
            returns=self.returns(),
            grace_until_ms=rng.choice((0, 0, self.now_ms + 60_000, self.now_ms + 10**8)),
        )
        for posting in postings:
            posting.blocker = posting.bucket < 0 and rng.random() < 0.3
            posting.hours = random_hours(rng) if posting.bucket < 0 and rng.random() < 0.3 else []
            posting.up_to = rng.random() < 0.2
            posting.is_part = posting.bucket < 0 and rng.random() < 0.5
            if posting.bucket < 0 and posting.kind != Kind.MONEY and rng.random() < 0.4:
                posting.price, posting.per = rng.choice(PRICES)
            posting.original = rng.choice((0, 0, 1))
        self.posts.append(post)
        return post

    def returns(self) -> list[CounterReturn]:
        """Of counters that may be there, in their period and in another one."""
        rng, found = self.rng, []
        for key in rng.choice(([], [], ["=spent"], ["none", "=octets", "=spent"])):
            until_ms = rng.choice((0, 0, self.now_ms + 60_000, self.now_ms + 10**9))
            window_ms, amount = rng.choice((0, 0, 10**9)), rng.choice((-50, 1, 100, 10**6))
            found.append(CounterReturn(key, amount, until_ms, window_ms, self.now_ms, rng.choice((-1, 0, 90, 10**8))))
        return found

    def close(self) -> AccountClosing:
        self.bundle_keys += 1
        rng = self.rng
        once = (rng.choice(("", f"k{self.bundle_keys}")), "0", self.now_ms, 10**9)
        merge = (rng.choice(("", "m1")), rng.choice(("", "other")))
        return AccountClosing(
            ACCOUNT,
            *once,
            "me",
            "because",
            "",
            rest=rng.choice([*ClosingRest]),
            moves_max=rng.choice(([], [200_000] * 4)),
            transfer=merge[0],
            counterpart=merge[1],
            tags=TAGS[self.bundle_keys % 2],
        )

    def fee(self) -> Fee:
        """A period of one of three fees, in order, again or too late; or an end."""
        rng = self.rng
        chain = rng.choice("abc")
        day = max(self.days.get(chain, 700_000) - rng.choice((0, 0, 0, 30)), 700_000)
        self.days[chain] = max(self.days.get(chain, 0), day + rng.choice((0, 30)))
        units = [
            FeeUnits(
                rng.choice("xy"),
                rng.choice([*Kind]),
                rng.choice((0, 90, 1_000, EXACT_MAX)) if rng.random() < 0.2 else 500,
                rng.choice((0, self.now_ms, self.now_ms + 100_000)),
                rng.choice(([], ["data"], ["fee"])),
                rng.choice((10, 50, 200)),
                rng.choice((-1, -1, 0, 700)),
                blocker=rng.random() < 0.2,
                hours=random_hours(rng) if rng.random() < 0.2 else [],
                is_part=rng.random() < 0.3,
            )
            for _ in range(rng.choice((0, 0, 1, 2)))
        ]
        for one in units:
            if one.kind != Kind.MONEY and rng.random() < 0.4:
                one.price, one.per = rng.choice(PRICES)
        return Fee(
            account=ACCOUNT,
            key=rng.choice(("", f"fee|{chain}|{day}")),
            fingerprint="",
            now_ms=self.now_ms - rng.choice((0, 0, 0, 10**10)),
            remember_ms=0,
            actor="fees",
            reason="",
            reference="t@1",
            chain=chain,
            subscriber="sub",
            step=FeeStep.END if rng.random() < 0.08 else FeeStep.TAKE,
            from_day=day,
            until_day=day + 30,
            amount=rng.choice((0, 1_000, 50_000, EXACT_MAX)),
            event_ms=self.now_ms - rng.choice((0, 1_000)),
            funds=rng.choice([*FeeFunds]),
            is_partial=rng.random() < 0.4,
            gives_first=rng.random() < 0.2,
            lapses=rng.random() < 0.2,
            suspends=rng.random() < 0.3,
            takes_back=rng.random() < 0.5,
            units=units,
            terms=rng.choice(("", "tax=190000")),
            clock=CLOCK,
        )

    def transfer(self) -> Transfer:
        """From anywhere to anywhere, now and then under a key of a posting."""
        rng = self.rng
        self.bundle_keys += 1
        key = f"k{self.bundle_keys - rng.choice((0, 0, 0, 1))}"
        source, target = rng.choice((0, 0, 1, 2, 3)), rng.choice((0, 0, 1, 2, 3))
        amount = rng.choice((*EDGES, 7, 90, 50_000, -1))
        who = ("me", "because", "")
        return Transfer(
            ACCOUNT, rng.choice(("", key)), "0", self.now_ms, 10**9, *who, source=source, target=target, amount=amount
        )


def begun(rng: Random) -> tuple[Account, list[Entry]]:
    """An account that begins with something (charging.md 14)."""
    buckets = [
        OpeningBucket(
            kind=rng.choice([*Kind]),
            amount=rng.randint(1, 50_000),
            priority=rng.choice((10, 50, 100)),
            until_ms=rng.choice((0, 0, 600_000)),
            window_ms=rng.choice((0, 0, 60_000)),
        )
        for _ in range(rng.randint(0, 3))
    ]
    below, resume = rng.choice(((NEVER, NEVER), (10, 1_000)))
    return opened(AccountRow(ACCOUNT, "EUR", "UTC", 0, below, resume, 0, rng.randint(0, 2_000), tuple(buckets)))


AGAIN = SuspendReasons.BARRED | SuspendReasons.CLOSED | SuspendReasons.OVERDUE | SuspendReasons.CREATED
"""What an account that is served again is cleared of."""


def run(twins: Twins, seed: int, steps: int) -> None:
    rng = Random(seed)
    client = RandomGateway(rng)
    account = fresh_account(ACCOUNT, "EUR", credit_limit=rng.choice((0, 0, 100_000)))
    entries: list[Entry] = []
    if rng.random() < 0.3:
        account.suspend_below, account.resume_at = 0, 10_000
    elif rng.random() < 0.5:
        account, entries = begun(rng)
    if rng.random() < 0.3:
        account.state |= SuspendReasons.CREATED
    if rng.random() < 0.5:
        begin(account, random_thresholds(rng), random_services(rng))
    assert twins.open(account, entries=entries) == "ok"
    assert twins.open(account) == "exists"
    for _ in range(steps):
        client.tick()
        dice = rng.random()
        if dice < 0.72:
            charge = client.charge()
            for _ in range(len(charge.asks) + 1):
                if twins.charge(charge)[0] == "longer":
                    charge = client.rated(charge, twins.missing_ms)
        elif dice < 0.84:
            twins.post(client.post())
        elif dice < 0.86:
            twins.transfer(client.transfer())
        elif dice < 0.865:
            twins.close_account(client.close())
        elif dice < 0.88:
            twins.fee(client.fee())
        elif dice < 0.9:
            life = rng.random() < 0.3
            change = AccountSettings(
                ACCOUNT,
                client.now_ms,
                rng.choice((None, None, 1)),
                rng.choice((None, 0, 500_000, 10**14)),
                rng.choice((None, 0, NEVER)),
                rng.choice((None, 0, 100_000)),
                SuspendReasons.GRACE if life else rng.choice((0, 0, 0, SuspendReasons.BARRED)),
                rng.choice((0, SuspendReasons.BARRED, AGAIN)),
                rng.choice((None, None, 4, 5)),
            )
            if life:
                change.grace_until_ms = rng.choice((None, client.now_ms + rng.choice((0, 50_000, 10**7))))
            if rng.random() < 0.3:
                change.thresholds = random_thresholds(rng)
            if rng.random() < 0.3:
                change.services = random_services(rng)
            if rng.random() < 0.2:
                change.buckets = [BucketSetting(rng.choice((0, 1, 2, 3)), rng.random() < 0.6)]
            change.clock = rng.choice(([], [], [0], CLOCK))
            twins.settings(change)
        else:
            due = rng.choice([*twins.model.due, f"{ACCOUNT}\n", f"{ACCOUNT}\ngone"])
            who, _, session = due.partition("\n")
            known = twins.model.sessions.get(who, {}).get(session)
            touched_ms = known.touched_ms - rng.choice((0, 0, 1)) if known and rng.random() < 0.3 else 0
            twins.expire(Expire(who, session, client.now_ms, 3_600_000, 7_200_000, touched_ms))
    check_entries(twins.model, ACCOUNT)


@pytest.mark.parametrize("seed", range(60), ids=lambda seed: f"seed{seed}")
def test_lua_and_model_agree(twins: Twins, seed: int) -> None:
    run(twins, seed, steps=80)


@pytest.mark.parametrize("seed", range(100, 130), ids=lambda seed: f"seed{seed}")
def test_they_agree_where_a_session_is_full(redis_url: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """With room for three lines and three intervals: every request crowds one out, and no hold goes with it."""
    for module, name in ((session, "SESSION_LINES_MAX"), (repeats, "INTERVALS_MAX")):
        monkeypatch.setattr(kept, name, 3)
        monkeypatch.setattr(module, name, 3)
    monkeypatch.setattr(kept, "LADDERS_KEPT", 2)
    monkeypatch.setattr(scripts, "NUMBERS", table.numbers())
    monkeypatch.setattr(scripts, "LIBRARY", scripts.library())
    twins = Twins(redis_url)
    run(twins, seed, steps=80)
    twins.close()


@pytest.mark.fuzz
def test_lua_and_model_agree_for_long(valkey: LiveValkey) -> None:
    for seed in range(1_000, 3_000):
        twins = Twins(valkey.fresh())
        run(twins, seed, steps=150)
        twins.close()


def test_amounts_at_the_edge_are_exact(twins: Twins) -> None:
    """2**53 - 1 arrives, one more is refused, and nothing is rounded on the way."""
    assert twins.open(fresh_account(ACCOUNT, "EUR")) == "ok"

    def topup(amount: int, key: str) -> str:
        posting = Posting(0, Kind.MONEY, amount, "topup", "topup")
        return twins.post(Post(ACCOUNT, key, "f", START_MS, 10**9, "me", "", "", [posting]))[0]

    assert topup(EXACT_MAX - 1, "a") == "ok"
    assert topup(1, "b") == "ok"
    assert topup(1, "c") == "refused"
    account = twins.account(ACCOUNT)
    assert account is not None
    assert account.buckets[0].amount == EXACT_MAX
