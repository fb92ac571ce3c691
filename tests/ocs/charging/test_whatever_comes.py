"""Messages other people made, and sequences nobody would: always an answer, never an exception, no hold left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.charging.diameter.translate import to_cca
from ocs.charging.request import Busy, ChargingAnswer
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CreditControlRequest,
    RequestedAction,
    TariffChangeUsage,
    UnitValue,
)
from protocol.errors import AvpError, ProtocolError
from tariffs.units import EXACT_MAX
from tests.ocs.charging.wire import DATA, IMSI, LOCAL, MSISDN, SETTINGS, SMS, VOICE, E, I, T, U, ccr, lines, mscc
from tests.ocs.charging.world import World

GOLDEN = Path(__file__).parents[2] / "golden"


def golden_requests() -> list[Any]:
    found = []
    for file in sorted(GOLDEN.glob("diameter-*.json")):
        for vector in json.loads(file.read_text()):
            frame = bytes.fromhex(vector.get("hex", ""))
            if len(frame) > 20 and frame[4] & 0x80 and frame[5:8] == b"\0\x01\x10":
                found.append(pytest.param(frame, id=vector["id"]))
    return found


@pytest.mark.parametrize("frame", golden_requests())
def test_requests_of_other_implementations(frame: bytes) -> None:
    try:
        asked = DICTIONARY.decode(frame)
    except ProtocolError:
        return
    assert isinstance(asked, CreditControlRequest)
    world = World()
    for one in asked.subscription_id:
        if one.subscription_id_type == 0:
            world.subscriber(f"msisdn:{one.subscription_id_data}")
    answer = world.answer(asked)
    assert isinstance(answer, ChargingAnswer)
    written = to_cca(asked, answer, LOCAL, SETTINGS.services)
    read = DICTIONARY.decode(written.answer(asked))
    assert read == DICTIONARY.decode(written.answer(asked))
    assert len(answer.lines) == len(getattr(read, "multiple_services_credit_control", ())) or len(answer.lines) <= 1


MONEY = st.builds(
    lambda digits, exponent, currency: CcMoney(
        unit_value=UnitValue(value_digits=digits, exponent=exponent), currency_code=currency
    ),
    st.integers(-2, 300) | st.integers(2**63 - 2, 2**63 - 1),
    st.integers(-8, 1) | st.sampled_from([-(2**31), 2**31 - 1]),
    st.sampled_from([978, 978, None, 840]),
)
PIECE = st.fixed_dictionaries(
    {},
    optional={
        "cc_total_octets": st.integers(0, 2**30) | st.integers(2**53 - 2, 2**64 - 1),
        "cc_money": MONEY,
        "cc_time": st.integers(0, 10_000),
        "cc_service_specific_units": st.integers(0, 5),
        "tariff_change_usage": st.sampled_from([*TariffChangeUsage, 9]),
        "reporting_reason": st.integers(0, 9),
    },
)
ASK = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "cc_total_octets": st.integers(0, 2**40) | st.integers(2**53 - 2, 2**64 - 1),
        "cc_time": st.integers(0, 999),
        "cc_money": MONEY,
    },
)
GROUP = st.builds(
    lambda group, sid, ask, used: mscc(group, ask=ask, used=used, service_identifier=sid),
    st.none() | st.sampled_from([0, 10, 20, 40]),
    st.sampled_from([(), (7,), (7, 8)]),
    ASK,
    st.lists(PIECE, max_size=2),
)
MESSAGE = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([I, U, U, T, E]),
        "cc_request_number": st.integers(0, 4),
        "service_context_id": st.sampled_from([DATA, DATA, VOICE, SMS, "x@y"]),
        "subscription_id": st.sampled_from([(MSISDN,), (MSISDN,), (IMSI, MSISDN), (IMSI,), None]),
        "requested_action": st.sampled_from(list(RequestedAction)),
        "multiple_services_credit_control": st.lists(GROUP, max_size=3).map(tuple),
        "cc_sub_session_id": st.sampled_from([None, None, 1]),
        "flags": st.sampled_from([0xC0, 0xC0, 0xD0]),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2_000_000), st.booleans(), st.lists(MESSAGE, max_size=8))
def test_any_sequence_is_answered(balance: int, portal: bool, messages: list[dict[str, Any]]) -> None:
    final = {"final": {"action": "redirect", "address": "http://topup.example.net"}}
    world = World(services={"data": final} if portal else None)
    world.account("a1", balance)
    for message in messages:
        asked = ccr(message.pop("kind"), **message)
        try:
            answer = world.answer(asked)
        except AvpError:  # what reports nothing is refused with the amount that was wrong, what reports never
            assert not any(line.used_service_unit for line in asked.multiple_services_credit_control) or (
                asked.cc_request_type == E
            )
            assert asked.cc_request_type not in (U, T)
            continue
        assert isinstance(answer, ChargingAnswer)
        assert not isinstance(answer, Busy)
        read = DICTIONARY.decode(to_cca(asked, answer, LOCAL, SETTINGS.services).answer(asked))
        for line in getattr(read, "multiple_services_credit_control", ()):
            assert line.result_code is not None
            if line.granted_service_unit is not None and asked.cc_request_type != E:
                assert line.validity_time  # always with a grant
    for session in (None, 1):
        asked = ccr(T, cc_request_number=99, cc_sub_session_id=session, **lines())
        assert isinstance(world.answer(asked), ChargingAnswer)
    assert world.held() == 0
    for appended in world.model.ledger:
        for entry in appended.record.entries:
            assert abs(entry.after) <= EXACT_MAX
