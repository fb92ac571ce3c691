"""Random tariffs, and random sessions under them: real CCRs, charged by the readable model."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from balances.structs.account import Bucket
from ocs.charging.settings import Regular
from protocol.diameter.dictionary.credit_control import RequestedAction, RequestedServiceUnit, SubscriptionId
from tariffs.catalog import Assignment
from tests.ocs.charging.wire import DATA, SMS, VOICE, E, I, T, U, lines, mscc
from tests.ocs.charging.world import NOW_MS, World

DEBIT, REFUND = RequestedAction.DIRECT_DEBITING, RequestedAction.REFUND_ACCOUNT
MB = 2**20
DAY_MS = 86_400_000

BANDS = """
[bands.peak]
days = ["mon-fri"]
hours = ["08:00-20:00"]

[bands.night]
hours = ["22:00-06:00"]
"""

COUNTERS = """
[counters.volume]
counts = "octets"
period = "day"

[counters.spent]
counts = "money"
period = "month"

[counters.talk]
counts = "seconds"
period = "month"
by = "subscriber"

[counters.burst]
counts = "octets"
period = "2 h"
"""


ROUNDED = [f'\nround = {{ to = "0.01", rounding = "{one}", of = "session" }}' for one in ("up", "half_even")]


def _flat(rng: Random, per: str, increments: list[str]) -> str:
    price = rng.choice(["0.01", "0.05", "0.0004", "0.123457", "0.09", "0"])
    parts = [f'price = "{price}"', f'per = "{per}"']
    if rng.random() < 0.6:
        parts.append(f'increment = "{rng.choice(increments)}"')
    if rng.random() < 0.3:
        parts.append(f'rounding = "{rng.choice(["up", "down", "half_up"])}"')
    return f"flat = {{ {', '.join(parts)} }}"


def random_tariff(
    rng: Random, name: str = "t", *, valid_from: str = "", simple: bool = False, sums: bool = False
) -> str:
    """A document with some of everything: bands, tiers, bundles, minimum and maximum, discounts, tax.

    simple:  nothing that depends on more than records say: bundles, windows, what is charged beside
    sums:    sessions may be rounded
    """
    rounded = rng.choice(["", *ROUNDED]) if sums else ""
    head = [f'tariff = "{name}"', 'currency = "EUR"', *([f"valid_from = {valid_from}"] if valid_from else [])]
    banded = rng.random() < 0.7
    # Of a day that is over nobody knows any more what was used in it (balances/model/account.py): late use begins at 0.
    parts = [*head, BANDS if banded else "", COUNTERS.replace('"day"', '"month"') if simple else COUNTERS]
    if rng.random() < 0.5:
        parts.append('[[discounts]]\nname = "loyal"\npercent = "subscriber.discount"')
    if banded and rng.random() < 0.3:
        parts.append('[[surcharges]]\nname = "busy"\nwhen = { time = "peak" }\npercent = 25')
    if rng.random() < 0.6:
        parts.append(f'[[taxes]]\nname = "vat"\npercent = 19\nincluded = {rng.choice(["true", "false"])}')
    for service, per, increments, counter, limit in (
        ("data", "1 MB", ["10 KB/1 KB", "100 KB", "1 MB"], "volume", "20 MB"),
        ("voice", "1 min", ["60/1", "60", "1"], "talk", "20 min"),
        ("sms", "1 message", ["1", "3/1"], "spent", "0.50"),
    ):
        if not simple and rng.random() < 0.5:
            split = rng.choice(["", ", split = false"]) if service != "sms" else ""
            parts.append(f'[[rows]]\nname = "{service}-bundle"\nwhen = {{ service = "{service}" }}')
            parts.append(f'bundle = {{ per = "{per}"{split} }}')
        if rng.random() < 0.5:
            counter, limit = rng.choice([(counter, limit), ("spent", "1.00"), ("spent", "0.20")])
            if not simple and service == "data" and rng.random() < 0.3:
                counter = "burst"
            limit = limit if (counter == "spent") == (limit[0] in "01") else "5 MB"
            parts.append(f'[[rows]]\nname = "{service}-tier"\nwhen = {{ service = "{service}" }}')
            parts.append(f'below = {{ {counter} = "{limit}" }}\n{_flat(rng, per, increments)}{rounded}')
        extras = rounded
        if rng.random() < 0.4:
            extras += f'\nminimum = {{ charge = "{rng.choice(["0.03", "0.10"])}" }}'
        if rng.random() < 0.4:
            extras += f'\nmaximum = {{ charge = "{rng.choice(["0.25", "2.00"])}" }}'
        if rng.random() < 0.4:
            extras += f'\nsetup = {{ fee = "0.05"{rng.choice(["", ", waived = true"])} }}'
        if not simple and service == "data" and rng.random() < 0.2:
            extras += '\nbeside = { price = "0.01", per = "1 min" }'
        if banded and rng.random() < 0.7:
            band = rng.choice(["peak", "night"])
            parts.append(f'[[rows]]\nname = "{service}-{band}"\nwhen = {{ service = "{service}", time = "{band}" }}')
            parts.append(_flat(rng, per, increments) + extras)
        parts.append(f'[[rows]]\nname = "{service}-else"\nwhen = {{ service = "{service}" }}')
        parts.append(_flat(rng, per, increments) + extras)
    return "\n".join(parts) + "\n"


@dataclass
class Open:
    """A session as its client knows it."""

    session: str
    context: str
    who: int
    number: int = 0
    granted: dict[int | None, dict[str, int]] = field(default_factory=dict)


class Traffic:
    """Sessions of several subscribers on several accounts, at random but the same for the same seed."""

    def __init__(
        self,
        rng: Random,
        *documents: str,
        assigned: tuple[str, ...] = ("t",),
        people: int = 4,
        rich: bool = False,
        bundles: bool = True,
        told: bool | None = None,
    ) -> None:
        """
        rich:  everything can be paid
        told:  clients are told of a change of tariff, and say what was used before and after it
        """
        self.rng = rng
        self.sent: list[tuple[int, Any, dict[str, Any]]] = []
        """When, and what."""
        self.told = rng.random() < 0.5 if told is None else told
        self.world = World(*documents, gw_example_net=Regular(tariff_change=self.told))
        self.world.now_ms = NOW_MS + rng.randrange(DAY_MS)
        self.open: list[Open] = []
        self._sessions = 0
        self._events: list[tuple[str, int, int]] = []
        zones = [rng.choice(["Europe/Berlin", "America/New_York"]) for _ in range(people)]
        for who in range(people):
            attributes = {"discount": rng.choice(["10", "33.3"])} if who % 2 else {}
            tariffs = tuple(Assignment(name) for name in assigned)
            self.world.subscriber(
                f"msisdn:4917{who}",
                account=f"a{who // 2}",  # two share one
                balance=rng.choice([50_000_000, 50_000_000, 500_000]) * (10_000 if rich else 1),
                assignments=tariffs,
                attributes=attributes,
                time_zone=zones[who // 2],
            )
            profile = self.world.known[f"msisdn:4917{who}"]
            for known in (self.world.known, self.world.at_hand):
                known[f"msisdn:4917{who}"] = type(profile)(
                    **{name: getattr(profile, name) for name in profile.__struct_fields__} | {"subscriber": f"s{who}"}
                )
            account = self.world.model.accounts[f"a{who // 2}"]
            for kind, amount in ((1, 15 * MB), (2, 600), (3, 2)):
                if bundles and rng.random() < 0.6:
                    account.buckets.insert(0, Bucket(account.next_bucket, kind, amount, priority=50))
                    account.next_bucket += 1

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.world.now_ms += self.rng.choice([1_000, 30_000, 240_000, 1_800_000, 7_200_000])
            choice = self.rng.random()
            if choice < 0.2 or not self.open:
                self._begin()
            elif choice < 0.65:
                self._report(self.rng.choice(self.open), U)
            elif choice < 0.8:
                self._report(self.open.pop(self.rng.randrange(len(self.open))), T)
            elif choice < 0.95:
                self._message()
            else:
                self._give_back()
        for one in self.open:
            self.world.now_ms += 60_000
            self._report(one, T)

    def _send(self, kind: Any, who: int, **fields: Any) -> Any:
        subscription = (SubscriptionId(subscription_id_type=0, subscription_id_data=f"4917{who}"),)
        fields["subscription_id"] = subscription
        self.sent.append((self.world.now_ms, kind, fields))
        return self.world.send(kind, **fields)

    def send_again(self, sent: list[tuple[int, Any, dict[str, Any]]]) -> None:
        """What other traffic has sent, whatever is answered now."""
        for self.world.now_ms, kind, fields in sent:
            self.world.send(kind, **fields)

    def _begin(self) -> None:
        self._sessions += 1
        one = Open(f"gw.example.net;{self._sessions};1", self.rng.choice([DATA, DATA, VOICE]), self.rng.randrange(4))
        groups: list[int | None] = self.rng.choice([[10], [10, 20], [None]]) if one.context == DATA else [None]
        answer = self._send(
            I,
            one.who,
            session_id=one.session,
            service_context_id=one.context,
            **lines(*[mscc(group, ask={}) for group in groups]),
        )
        self._learn(one, answer)
        if one.granted:
            self.open.append(one)

    def _learn(self, one: Open, answer: Any) -> None:
        one.granted = {}
        for line in answer.multiple_services_credit_control:
            units = line.granted_service_unit
            if units is not None:
                found = {"cc_total_octets": units.cc_total_octets, "cc_time": units.cc_time}
                one.granted[line.rating_group] = {name: units for name, units in found.items() if units}

    def _report(self, one: Open, kind: Any) -> None:
        one.number += 1
        groups = []
        for group, granted in one.granted.items():
            used = {}
            for name, units in granted.items():
                part = self.rng.choice([units, units // 2, self.rng.randrange(units + 1), 0, units + 7])
                used[name] = part
            several: Any = used
            if self.told and self.rng.random() < 0.3 and "cc_time" not in used:
                several = [used | {"tariff_change_usage": 0}, used | {"tariff_change_usage": self.rng.choice([1, 2])}]
            asks: dict[str, Any] = {"ask": {}} if kind == U and self.rng.random() < 0.9 else {}
            groups.append(mscc(group, used=several, **asks))
        answer = self._send(
            kind,
            one.who,
            session_id=one.session,
            service_context_id=one.context,
            cc_request_number=one.number,
            **lines(*groups),
        )
        before = one.granted
        self._learn(one, answer)
        if kind == U and not one.granted:  # it goes on using what nobody granted, and reports that
            one.granted = {group: dict.fromkeys(granted, 9) for group, granted in before.items()}

    def _message(self) -> None:
        self._sessions += 1
        session, who, units = f"gw.example.net;{self._sessions};2", self.rng.randrange(4), self.rng.randrange(1, 5)
        asked = RequestedServiceUnit(cc_service_specific_units=units)
        answer = self._send(
            E,
            who,
            session_id=session,
            service_context_id=SMS,
            requested_action=DEBIT,
            requested_service_unit=asked,
        )
        if answer.result_code == 2001:
            self._events.append((session, who, units))

    def _give_back(self) -> None:
        if not self._events:
            return
        session, who, units = self._events.pop(self.rng.randrange(len(self._events)))
        back = RequestedServiceUnit(cc_service_specific_units=self.rng.randrange(1, units + 1))
        more = {} if self.rng.random() < 0.5 else {"requested_service_unit": back}
        self._send(
            E,
            who,
            session_id=session,
            service_context_id=SMS,
            requested_action=REFUND,
            cc_request_number=1,
            **more,
        )
