"""One life of an account through the oracle and the twin (and the script), compared after every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from balances.model.store import Model
from balances.packing import fresh_account
from balances.structs.account import MAIN, Account, WeekHours
from balances.structs.blob import raw_of
from balances.structs.charge import Action, Ask, Charge, NextPrice, Outcome, Phase, Result
from balances.structs.posting import (
    AccountOpening,
    AccountSettings,
    BucketExtension,
    BucketSetting,
    Expire,
    Post,
    Posting,
    PostingOutcome,
    RestoredKey,
)
from balances.structs.record import Entry
from balances.structs.session import SessionState
from balances.structs.thresholds import CrossingOf, ServiceSuspension, Threshold
from tariffs.ladder import Ladder
from tariffs.units import Kind
from tests.balances.oracle.account import NaiveAccount
from tests.balances.oracle.courses import NaiveCourses
from tests.balances.oracle.events import NaiveEvents
from tests.balances.oracle.line import is_free
from tests.balances.oracle.nas import NaiveNas, NasPacket
from tests.balances.oracle.sessions import NaiveAnswer, expire_holds
from tests.balances.oracle.stories import (
    OWN,
    PERIOD,
    PERIOD_MINUTES,
    UNITS,
    Blocking,
    Bonus,
    Debit,
    GiveBack,
    PayIn,
    PostedAgain,
    Repetition,
    SettingsChange,
    Story,
    StoryLine,
    StoryRequest,
    TakeOut,
    Wait,
)
from tests.balances.oracle.watches import NaiveServiceLine, NaiveThreshold
from tests.balances.rules.account_harness import ACCOUNT, FLAT, HOUR, MINUTE, START_MS, ask, charge_of, timed
from tests.balances.twins import Twins, check_account, check_entries


class TwinAlone(Twins):
    """The twin without the script: many times as quick."""

    def __init__(self) -> None:
        self.model = Model()

    def charge(self, charge: Charge) -> tuple[str, Outcome | None]:
        reply = self.model.charge(charge, b"inputs")
        if reply.status in ("longer", "other", "facts"):
            return reply.status, None
        return reply.status, msgspec.msgpack.decode(reply.outcome, type=Outcome) if reply.outcome else None

    def post(self, post: Post) -> tuple[str, PostingOutcome | None]:
        return self.model.post(post).status, None

    def settings(self, settings: AccountSettings) -> str:
        return self.model.settings(settings).status

    def expire(self, expiry: Expire) -> str:
        return self.model.expire(expiry).status

    def open(
        self,
        account: Account,
        now_ms: int = 0,
        sessions: Sequence[RestoredKey] = (),
        entries: Sequence[Entry] = (),
    ) -> str:
        packed = raw_of(msgspec.msgpack.encode(account))
        opening = AccountOpening(packed, list(sessions), [], now_ms, "open", "me", list(entries))
        return self.model.open(account.id, opening).status


class Comparison:
    """A story told to both."""

    def __init__(self, twins: Twins, story: Story) -> None:
        self.twins, self.story = twins, story
        below, at = story.thresholds
        self.account = NaiveAccount(credit_limit=story.credit_limit, suspend_below=below, resume_at=at)
        self.sessions = NaiveCourses(self.account, self._told)
        self.nas = NaiveNas()
        self.events = NaiveEvents(self.sessions)
        steps = [step.kind for ladder in story.ladders for step in ladder.steps if step.kind != Kind.MONEY]
        self.unit = Kind(steps[0]) if steps else Kind.OCTETS
        self.now_ms = START_MS
        self.sent: list[Charge] = []
        self.numbers: dict[str, int] = {}
        self.posts, self.made = 0, False
        self.posted: Post | None = None
        self.seen = 0
        fresh = fresh_account(ACCOUNT, "EUR", credit_limit=story.credit_limit, suspend_below=below, resume_at=at)
        assert twins.open(fresh) == "ok"
        self._look()

    @property
    def model(self) -> Model:
        return self.twins.model

    def _watch(self) -> None:
        """What the account is told about is set before anything happens."""
        self.account.begin()
        settings = AccountSettings(ACCOUNT, self.now_ms, None, thresholds=[])
        for number, watch in enumerate(self.story.watches):
            naive = NaiveThreshold(f"t{number}", *watch)
            naive.begin(self.account.buckets, self.now_ms)
            self.account.watches.append(naive)
            kind, below, rearm, percent, service = watch
            levels = (0, rearm, below) if percent else (below, rearm, 0)
            settings.thresholds = [*(settings.thresholds or ()), Threshold(f"t{number}", kind, *levels, "", service)]
        if self.story.service_line is not None:
            self.account.service_line = NaiveServiceLine(*self.story.service_line)
            settings.services = [ServiceSuspension("data", *self.story.service_line)]
        self.account.check(self.now_ms)
        assert self.twins.settings(settings) == "ok"
        self._look()

    def tell(self) -> None:
        if self.story.watches or self.story.service_line is not None:
            self._watch()
        if self.story.money:
            self._post([Posting(MAIN, Kind.MONEY, self.story.money, "top-up", "top-up")])
        for action in self.story.actions:
            self._act(action)
        check_entries(self.model, ACCOUNT)

    def _act(self, action: object) -> None:
        match action:
            case StoryRequest():
                self._request(action)
            case NasPacket():
                self._packet(action)
            case Debit():
                self._debit(action)
            case GiveBack():
                self._refund(action)
            case Repetition():
                self._again(action)
            case PayIn():
                lasting = self.now_ms + action.lasts * MINUTE if action.lasts else 0
                self._post([Posting(MAIN, Kind.MONEY, action.amount, "top-up", "top-up")], lasting_ms=lasting)
            case Bonus():
                self._bonus(action)
            case Blocking():
                self._block(action)
            case TakeOut():
                self._take_out(action)
            case SettingsChange():
                self._change(action)
            case Wait():
                self._wait(action.ms, swept=action.swept)
            case PostedAgain():
                self._posted_again()

    # ------------------------------------------------------------ requests

    def _request(self, request: StoryRequest) -> None:
        name = f"gw;{request.session}"
        number = self.numbers.get(name, -1) + 1
        self.numbers[name] = number
        session = self.sessions.sessions.get(name)
        going = session is not None and session.state in (SessionState.OPEN, SessionState.ABANDONED)
        phase = Phase(request.phase or (Phase.UPDATE if going else Phase.START))
        asks = [self._ask(part, phase, name) for part in request.parts]
        charge = charge_of(phase, asks, session=name, number=number, end_to_end=len(self.sent) + 1_000)
        self._send(timed(charge, self.now_ms, {"single": request.single}))

    def _packet(self, packet: NasPacket) -> None:
        report = self.nas.report(packet, self.now_ms)
        if report is None:
            return
        ladder = self._own(self.story.ladders[packet.ladder], f"{report.session} 10")
        one = ask(10, report.asked, by=ladder, free=is_free(ladder), validity_ms=2 * MINUTE)
        one.reports = report.usage
        charge = charge_of(report.phase, [one], session=report.session, number=0, end_to_end=len(self.sent) + 1_000)
        self._send(timed(charge, self.now_ms, report.fields | {"key": f"{len(self.sent)}"}))
        told = self.model.ledger[-1].record.reauthorize
        assert ("depleted" in told) == self.sessions.waits

    def _ask(self, part: StoryLine, phase: Phase, name: str) -> Ask:
        used, unit = self._used(part, phase, name), UNITS[part.rating_group]
        ladder = self._own(self.story.ladders[part.ladder], f"{name} {part.rating_group}")
        ladder = FLAT if unit == Kind.MONEY else ladder
        other = Kind.UNITS if unit == Kind.OCTETS else Kind.OCTETS
        made = ask(
            part.rating_group,
            -1 if phase == Phase.STOP else part.asked,
            used=used,
            by=ladder if part.rated else None,
            unit=other if part.used[0] == "other" else unit,
            at_ms=self.now_ms - part.ago_ms,
            minimum=part.minimum,
            maximum=part.maximum,
            priority=part.priority,
            portal=part.portal,
            whole=part.whole,
            free=is_free(ladder),
            validity_ms=10 * MINUTE,
        )
        made.unit = unit
        return made

    def _used(self, part: StoryLine, phase: Phase, name: str) -> int | None:
        how, amount = part.used
        if how == "none" or phase == Phase.START:
            return None
        session = self.sessions.sessions.get(name)
        lines = session.lines if session else []
        if how == "other":
            return amount
        granted = next((one.granted for one in lines if one.rating_group == part.rating_group), 0)
        return granted + amount if how == "over" else granted * amount // 100

    def _own(self, ladder: Ladder, name: str) -> Ladder:
        """With the counters that are only this line's, and those of the period of now."""
        period = (self.now_ms - START_MS) // (PERIOD_MINUTES * MINUTE) + 1
        ends_ms = START_MS + period * PERIOD_MINUTES * MINUTE
        keys = {OWN: f"{OWN} {name}", PERIOD: f"{PERIOD} {period} {name}"}
        steps = [
            msgspec.structs.replace(
                one, counter=keys.get(one.counter, one.counter), ends_ms=ends_ms if one.ends_ms else 0
            )
            for one in ladder.steps
        ]
        counts = [
            msgspec.structs.replace(one, key=keys.get(one.key, one.key), until_ms=ends_ms if one.key == PERIOD else 0)
            for one in ladder.counts
        ]
        return msgspec.structs.replace(ladder, steps=tuple(steps), counts=tuple(counts))

    def _debit(self, debit: Debit) -> None:
        name = f"ev;{len(self.sent)}"
        ladder = self._own(self.story.ladders[debit.ladder], name)
        one = ask(
            10, debit.units, by=ladder, unit=self.unit, minimum=1, maximum=0, whole=debit.whole, free=is_free(ladder)
        )
        self._event(name, one, {})

    def _refund(self, refund: GiveBack) -> None:
        debits = [one for one in self.sent if one.phase == Phase.EVENT and one.action == Action.DEBIT]
        if refund.back >= len(debits):
            return
        of = debits[-1 - refund.back].once_key
        one = ask(10, refund.money, unit=Kind.MONEY if refund.money else self.unit, minimum=1, maximum=0)
        until_ms = self.now_ms + HOUR
        self._event(
            f"ev;{len(self.sent)}", one, {"action": Action.REFUND, "refund_of": of, "refund_until_ms": until_ms}
        )

    def _event(self, name: str, one: Ask, changes: dict[str, Any]) -> None:
        charge = charge_of(Phase.EVENT, [one], session=name, number=0, end_to_end=len(self.sent) + 1_000)
        self._send(timed(charge, self.now_ms, changes))

    def _again(self, again: Repetition) -> None:
        if again.back >= len(self.sent):
            return
        before = self.sent[-1 - again.back]
        if before.phase == Phase.START and not (again.same and again.resend):
            return  # another INITIAL may be another session: `_request` makes those
        end_to_end = before.end_to_end if again.same else len(self.sent) + 1_000_000
        changed = msgspec.structs.replace(before, now_ms=self.now_ms, end_to_end=end_to_end, resend=again.resend)
        self._send(changed)

    def _send(self, charge: Charge) -> None:
        self.sent.append(charge)
        status, outcome = self.twins.charge(charge)
        if status == "longer":  # a worker rates what was used before this request, and sends it again
            asks = [msgspec.structs.replace(one, later=[NextPrice(0, one.ladder)]) for one in charge.asks]
            status, outcome = self.twins.charge(msgspec.structs.replace(charge, asks=asks))
        assert outcome is not None, status
        self.account.begin()
        expected = (self.events if charge.phase == Phase.EVENT else self.sessions).request(charge)
        self._same_answer(charge, expected, outcome)
        if status == "ok":
            self._same_marks(expected, outcome)
        self._look()

    def _told(self, rating_group: int) -> tuple[int, dict[int, int]]:
        lines = self.model.sessions[ACCOUNT][self.sent[-1].session].lines
        line = next(one for one in lines if one.rating_group == rating_group)
        return line.granted, {take.bucket: take.amount for take in line.hold}

    def _same_marks(self, expected: NaiveAnswer, outcome: Outcome) -> None:
        """What was set aside, what is told of the balance."""
        usages = [usage for appended in self.model.ledger[self.seen :] for usage in appended.record.usages]
        assert sum(usage.suspense for usage in usages) == sum(said.suspense for said in expected.lines)
        assert outcome.balance == self.account.settled(self.now_ms)
        assert outcome.low == (outcome.balance < self.account.low_below)

    def _same_answer(self, charge: Charge, expected: NaiveAnswer, outcome: Outcome) -> None:
        assert outcome.result == expected.result, (Result(outcome.result), Result(expected.result))
        if charge.action == Action.REFUND:
            assert [line.granted for line in outcome.lines] == [said.granted for said in expected.lines]
            return
        assert outcome.cost == expected.cost
        for ask_, said, line in zip(charge.asks, expected.lines, outcome.lines, strict=True):
            assert (line.granted, line.cost) == (said.granted, said.cost)
            if ask_.asked >= 0 and outcome.result in (Result.OK, Result.CREDIT_LIMIT, Result.DENIED):
                assert line.result == said.result
            if line.granted:
                assert (line.final, line.validity_ms) == (said.final, said.validity_ms)

    # ------------------------------------------------------------ the back office and time

    def _post(
        self, postings: list[Posting], *, own_only: bool = False, keeps_held: bool = False, lasting_ms: int = 0
    ) -> None:
        """lasting_ms: no bucket that lasts until then ends sooner; 0: as they do"""
        self.posts += 1
        self.account.begin()
        made = self.account.post(postings, self.now_ms, own_only=own_only, keeps_held=keeps_held, lasting_ms=lasting_ms)
        post = Post(
            ACCOUNT,
            f"k{self.posts}",
            "f",
            self.now_ms,
            HOUR,
            "me",
            "",
            "",
            postings,
            own_only,
            keeps_held=keeps_held,
            clock=[0],
        )
        post.extends = [BucketExtension("", lasting_ms)] if lasting_ms else []
        self.posted = post
        status, _ = self.twins.post(post)
        assert (status == "ok") == made, status
        self.made = made
        self._look()

    def _posted_again(self) -> None:
        """`Same key, same body, same answer`: nothing moves. One that was refused may be made now."""
        if self.posted is None or not self.made:
            return
        self.account.begin()
        status, _ = self.twins.post(msgspec.structs.replace(self.posted, now_ms=self.now_ms))
        assert status == "again"
        self._look()

    def _bonus(self, bonus: Bonus) -> None:
        begins = self.now_ms + bonus.begins * MINUTE if bonus.begins else 0
        ends = (begins or self.now_ms) + bonus.lasts * MINUTE if bonus.lasts else 0
        begin_s = START_MS // 1_000 % 86_400
        hours = [WeekHours(127, *(begin_s + 60 * minute for minute in bonus.hours))] if bonus.hours else []
        made = Posting(
            -1,
            bonus.kind,
            bonus.amount,
            "topup",
            "bonus",
            bonus.priority,
            begins,
            ends,
            list(bonus.scope),
            blocker=bonus.blocker,
            hours=hours,
        )
        if bonus.kind != Kind.MONEY:
            made.price, made.per = bonus.price
        if bonus.kind == Kind.MONEY or not bonus.money:
            return self._post([made])
        # `Where it blocks, its money does.`
        part = msgspec.structs.replace(made, kind=Kind.MONEY, amount=bonus.money, price=0, per=1, is_part=True)
        return self._post([msgspec.structs.replace(made, blocker=False), part])

    def _block(self, blocking: Blocking) -> None:
        known = any(bucket.id == blocking.bucket for bucket in self._account().buckets)
        setting = BucketSetting(blocking.bucket, blocking.blocker)
        status = self.twins.settings(AccountSettings(ACCOUNT, self.now_ms, None, buckets=[setting]))
        assert status == ("ok" if known and blocking.bucket != MAIN else "refused")
        self.account.begin()
        if status == "ok":
            self.account.bucket(blocking.bucket).blocker = blocking.blocker
            self.account.check(self.now_ms)
        self._look()

    def _take_out(self, out: TakeOut) -> None:
        if out.bucket >= len(self.account.buckets):
            return
        bucket = self.account.bucket(out.bucket)
        if bucket.over(self.now_ms) or not any(b.id == bucket.id for b in self._account().buckets):
            return
        posting = Posting(bucket.id, bucket.kind, -out.amount, "adjustment", "fix")
        self._post([posting], own_only=out.own_only, keeps_held=out.keeps_held)

    def _change(self, change: SettingsChange) -> None:
        below, at = change.thresholds or (None, None)
        self.account.begin()
        account = self.account
        account.credit_limit = account.credit_limit if change.credit_limit is None else change.credit_limit
        if below is not None and at is not None:
            account.suspend_below, account.resume_at = below, at
        account.state = (account.state | change.set_state) & ~change.clear_state
        account.check(self.now_ms)
        settings = AccountSettings(
            ACCOUNT,
            self.now_ms,
            None,
            change.credit_limit,
            below,
            at,
            change.set_state,
            change.clear_state,
        )
        assert self.twins.settings(settings) == "ok"
        self._look()

    def _wait(self, ms: int, *, swept: bool) -> None:
        self.now_ms += ms
        if not swept:
            return
        self.account.begin()
        for name in list(self.sessions.sessions):
            self.twins.expire(Expire(ACCOUNT, name, self.now_ms))
        self.twins.expire(Expire(ACCOUNT, "", self.now_ms))
        expire_holds(self.sessions, self.now_ms)
        self.account.lapse(self.now_ms)
        if self.account.movements:
            self.account.check(self.now_ms)
        self._look()

    # ------------------------------------------------------------ what there is now

    def _account(self) -> Account:
        return self.model.accounts[ACCOUNT]

    def _look(self) -> None:
        stored, account = self._account(), self.account
        amounts = {bucket.id: (bucket.amount, bucket.held) for bucket in stored.buckets}
        assert {bucket.id: amounts.get(bucket.id, (0, 0)) for bucket in account.buckets} == {
            bucket.id: (bucket.amount, self.sessions.held(bucket.id)) for bucket in account.buckets
        }
        assert stored.state == account.state
        assert [one.crossed_ms > 0 for one in stored.thresholds] == [one.crossed for one in account.watches]
        line = account.service_line
        assert [one.suspended_ms > 0 for one in stored.services] == ([] if line is None else [line.suspended])
        naive = self.sessions
        counted = {key: (counter.used, naive.counter_held(key)) for key, counter in naive.counters.items()}
        counters = {one.key: (one.used, one.held) for one in stored.counters if one.used or one.held}
        keys = set(counters) | {key for key, value in counted.items() if value != (0, 0)}
        assert {key: counters.get(key, (0, 0)) for key in keys} == {
            key: counted.get(key, (0, naive.counter_held(key))) for key in keys
        }
        records = [appended.record for appended in self.model.ledger[self.seen :]]
        self.seen = len(self.model.ledger)
        moved: Counter[tuple[int, str]] = Counter()
        for record in records:
            for entry in record.entries:
                moved[entry.bucket, entry.counter_account] += entry.amount
        expected: Counter[tuple[int, str]] = Counter()
        for one in account.movements:
            expected[one.bucket, one.counter_account] += one.amount
        assert {key: n for key, n in moved.items() if n} == {key: n for key, n in expected.items() if n}
        crossings = [
            (one.kind, "" if one.of == CrossingOf.LIMIT else one.name)
            for record in records
            for one in record.threshold_events
        ]
        assert crossings == account.crossings
        check_account(stored, list(self.model.sessions.get(ACCOUNT, {}).values()))
