"""The whole path from the octets of a CCR to those of its CCA, with the readable model in place of the live store."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, TypeVar

import msgspec

from balances.keys import AccountKeys
from balances.model.store import Model
from balances.packing import fresh_account
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import Pending
from balances.structs.account import Account
from balances.structs.charge import Charge, Phase, Reply
from balances.structs.posting import Post, Posting
from balances.structs.record import Record
from ocs.charging.diameter.translate import to_request
from ocs.charging.handle import ChargingContext, handle
from ocs.charging.profile import Profile
from ocs.charging.request import Busy, ChargingAnswer
from ocs.charging.services import service_table
from ocs.charging.settings import ChargingSettings, Regular
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from tariffs.catalog import Assignment, Catalog
from tariffs.load import load_tariff
from tariffs.units import Kind
from tests.ocs.charging.shadow import Plain, Shadow
from tests.ocs.charging.wire import cca, ccr

T = TypeVar("T")

NOW_MS = 1_700_000_000_000
EURO = 1_000_000

PACKAGE = """
tariff = "flat"
currency = "EUR"

[[rows]]
when = { service = "data" }
bundle = { per = "1 MB" }

[[rows]]
name = "beyond"
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
"""
"""What no bucket of megabytes pays costs 0.01 a megabyte."""


def ready(value: T) -> Pending[T]:
    pending: Pending[T] = Pending()
    pending.resolve(value)
    return pending


def failed(error: Exception) -> Pending[Any]:
    pending: Pending[Any] = Pending()
    pending.fail(error)
    return pending


class World:
    """Store, profiles and look-ups of a worker, by hand. `seen` tells in words what the slow paths did."""

    def __init__(self, *documents: str, services: dict[str, dict[str, Any]] | None = None, **clients: Regular) -> None:
        texts = documents or ((files("tariffs") / "examples" / "demo.toml").read_text(),)
        self.model = Model()
        self.catalog = Catalog(load_tariff(text, source="tariff.toml") for text in texts)
        self.known: dict[str, Profile] = {}
        self.at_hand: dict[str, Profile] = {}
        self.sessions_known: dict[str, tuple[str, str]] = {}
        self.known_answers: dict[tuple[str, str], bytes] = {}
        self.absent: dict[str, Account] = {}
        self.wheres: dict[str, tuple[str, str]] = {}
        self.broken: Exception | None = None
        self.statuses: list[str] = []
        self.after: list[str] = []
        """What the script itself answers next, once the call has been sent."""
        self.seen: list[str] = []
        self.charged: list[Charge] = []
        self.now_ms = NOW_MS
        self.opened_ms = 0
        self.requests_known: dict[tuple[str, str], bytes] = {}
        settings = ChargingSettings(
            services=service_table({}, services or {}),
            clients={name.replace("_", "."): client for name, client in clients.items()},
        )
        self.context = ChargingContext(
            catalog=self.catalog,
            profiles=self,
            store=self,
            settings=settings,
            restore=self._restore,
            session_known=self._session_known,
            request_known=self._request_known,
            event_known=self._event_known,
            jitter=lambda: 0,
        )
        self.shadow = Shadow(self.context)
        self.subscriber("msisdn:491700000001")

    def subscriber(self, identity: str, *, balance: int = 20 * EURO, account: str = "a1", **fields: Any) -> None:
        tariffs = tuple(Assignment(name) for name in self.catalog.tariffs)
        given: dict[str, Any] = {
            "rev": 1,
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
            "assignments": tariffs,
        } | fields
        profile = Profile(subscriber="s1", account=account, **given)
        for name in (identity, "subscriber:s1"):
            self.known[name] = self.at_hand[name] = profile
        self.account(account, balance)

    def account(self, name: str, balance: int, **fields: int) -> None:
        account = fresh_account(name, "EUR", **fields)
        account.buckets[0].amount = balance
        self.model.accounts[name] = account

    def sold(self, octets: int, price: int, per: int, account: str = "a1") -> None:
        """A bucket with a price (charging.md 22)."""
        bought = Posting(-1, Kind.OCTETS, octets, "top-up", "top-up", scope=["data"], price=price, per=per)
        self.model.post(Post(account, "", "", self.now_ms, 0, "", "", "", [bought]))

    def balance(self, account: str = "a1") -> int:
        return self.model.accounts[account].buckets[0].amount

    def held(self, account: str = "a1") -> int:
        return self.model.accounts[account].buckets[0].held

    # ---- what a ChargingContext is made of

    def get(self, identity: str) -> Profile | None:
        return self.at_hand.get(identity)

    def of(self, identities: tuple[str, ...]) -> Profile | None:
        first = next((identity for identity in identities if identity in self.known), None)
        return self.at_hand.get(first) if first else None

    def load(self, identities: Sequence[str]) -> Pending[Profile | None]:
        self.seen.append(f"load {' '.join(identities)}")
        found = next((identity for identity in identities if identity in self.known), None)
        if found is not None:
            self.at_hand[found] = self.known[found]
        return ready(self.known[found] if found else None)

    def charge(self, charge: Charge, context: bytes, of: AccountKeys | None = None) -> Pending[Reply]:
        if self.broken is not None:
            return failed(self.broken)
        if self.statuses:
            return ready(Reply(self.statuses.pop(0)))
        assert of is None or of.account.endswith(charge.account)
        sent = msgspec.msgpack.decode(msgspec.msgpack.encode(charge), type=Charge)  # as the script reads it
        self.charged.append(sent)
        if charge.phase == Phase.START and not charge.moved_rev:
            self.wheres[charge.session] = charge.account, charge.subscriber
        if self.after:
            return ready(Reply(self.after.pop(0)))
        return ready(self.model.charge(sent, context))

    def not_opened(self, account: str, session: str, subscriber: str) -> None:
        here = self.wheres.get(session) == (account, subscriber)
        if here and session not in self.model.sessions.get(account, {}):
            self.wheres.pop(session, None)

    def remark(self, peer: str, mark: str) -> None:
        self.seen.append(f"remark {peer} {mark}")

    def aside(self, record: Record, context: bytes) -> Pending[Reply]:
        if self.broken is not None:
            return failed(self.broken)
        return ready(self.model.aside(record, context))

    def where(self, session: str) -> Pending[tuple[str, str] | None]:
        self.seen.append("where")
        return ready(self.wheres.get(session))

    def _restore(self, account: str) -> Pending[None]:
        self.seen.append(f"restore {account}")
        if account in self.absent:
            self.model.accounts[account] = self.absent.pop(account)
        return ready(None)

    def _session_known(self, session: str) -> Pending[tuple[str, str] | None]:
        self.seen.append("session_known")
        return ready(self.sessions_known.get(session))

    def _request_known(self, charge: Charge) -> Pending[bytes | None]:
        self.seen.append("request_known")
        return ready(self.requests_known.get((charge.session, charge.key)))

    def _event_known(self, account: str, key: str) -> Pending[bytes | None]:
        self.seen.append("event_known")
        return ready(self.known_answers.get((account, key)))

    # ---- traffic

    def answer(
        self, asked: CreditControlRequest, via: str = "gw.example.net", *, urgent_only: bool = False
    ) -> ChargingAnswer | Busy | None:
        request = to_request(asked, via, self.context.settings)
        shadow = self.shadow.before(asked, via, self.now_ms)
        plain: Plain = []
        coroutine = handle(request, self.context, self.now_ms, urgent_only=urgent_only, plain=plain)
        calls = len(self.charged)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            found: ChargingAnswer | Busy | None = stop.value
            self.shadow.after(asked, via, request, plain, found, self.charged[calls:], shadow)
            return found
        raise AssertionError("everything was ready, and it waited")

    def send(self, *args: Any, **fields: Any) -> Any:
        """The CCA as the client decodes it."""
        asked = ccr(*args, **fields)
        answer = self.answer(asked)
        assert isinstance(answer, ChargingAnswer), answer
        return cca(asked, answer, self.context.settings.services)


NOT_SENT, LOST = NotSent("no pass"), Lost("cut")
