"""Requests from templates and answers by shapes, judged by the dictionary."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.answers import AnswerReader, LineAnswer, UnreadableError
from loadtest.scenario import Play, load, shipped
from loadtest.subscriber import subscriber
from loadtest.templates import FIELD, Template, again, session_id, stamp
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlAnswer,
    CreditControlRequest,
    FinalUnitAction,
    FinalUnitIndication,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
)

PLAYS = [play for name in shipped() for play in load(name).plays]
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
PHASES = st.sampled_from(
    [CcRequestType.INITIAL_REQUEST, CcRequestType.UPDATE_REQUEST, CcRequestType.TERMINATION_REQUEST]
)


@given(st.sampled_from(PLAYS), PHASES, U32, U32, U32, st.integers(0, 99_999_999), st.lists(U32, min_size=3, max_size=3))
def test_a_filled_template_says_what_it_was_told(
    play: Play, phase: CcRequestType, ids: int, number: int, when: int, who: int, used: list[int]
) -> None:
    template = Template(play, phase, host="1.load.example.net", realm="example.net", destination="charging.example")
    name = session_id("1.load.example.net", when % 10**10, number)
    when = 1_600_000_000 + when % 400_000_000
    head = ids.to_bytes(4, "big") * 2
    frame = template.fill(head, name.encode(), number, stamp(when), subscriber(who).identities, used)
    ccr = CreditControlRequest.decode(frame)
    assert (ccr.hop_by_hop, ccr.end_to_end, ccr.session_id, ccr.cc_request_number) == (ids, ids, name, number)
    assert (ccr.cc_request_type, ccr.event_timestamp, ccr.destination_realm) == (phase, when, "charging.example")
    assert ccr.subscription_id[0].subscription_id_data == f"4999{who:08d}"
    spent: tuple[Any, ...] = ccr.multiple_services_credit_control or (ccr,)
    for line, said, units in zip(play.lines, spent, used, strict=False):
        reported = [getattr(one, FIELD[line.unit]) for one in said.used_service_unit]
        assert reported == ([] if phase is CcRequestType.INITIAL_REQUEST else [units])
        asked = said.requested_service_unit
        assert (asked is None) == (phase is CcRequestType.TERMINATION_REQUEST)
        assert asked is None or getattr(asked, FIELD[line.unit]) == line.ask

    repeated = CreditControlRequest.decode(again(frame, 77))
    assert repeated == ccr
    assert repeated.is_retransmitted
    assert (repeated.hop_by_hop, repeated.end_to_end) == (77, ids)


REQUEST = CreditControlRequest(
    session_id="a;1;2",
    origin_host="a",
    origin_realm="b",
    destination_realm="c",
    service_context_id="d",
    cc_request_type=CcRequestType.UPDATE_REQUEST,
    cc_request_number=1,
)
UNITS = st.builds(
    GrantedServiceUnit,
    cc_time=st.none() | U32,
    cc_total_octets=st.none() | U64,
    cc_service_specific_units=st.none() | U64,
    tariff_time_change=st.none() | st.integers(1_600_000_000, 1_700_000_000),
)
FINAL = st.none() | st.builds(FinalUnitIndication, final_unit_action=st.sampled_from(FinalUnitAction))
LINES = st.builds(
    MultipleServicesCreditControl,
    rating_group=st.none() | U32,
    result_code=st.none() | U32,
    granted_service_unit=st.none() | UNITS,
    validity_time=st.none() | U32,
    final_unit_indication=FINAL,
    volume_quota_threshold=st.none() | U32,
)
READER = AnswerReader()  # one for all examples: shapes learnt from one answer must not mislead the reading of another


@given(U32, U32, st.lists(LINES, max_size=3), st.none() | U32)
def test_an_answer_is_read_as_the_dictionary_reads_it(
    result: int, number: int, lines: list[MultipleServicesCreditControl], state: int | None
) -> None:
    cca = CreditControlAnswer(
        session_id="a;1;2",
        result_code=result,
        origin_host="ocs",
        origin_realm="b",
        auth_application_id=4,
        cc_request_type=CcRequestType.UPDATE_REQUEST,
        cc_request_number=number,
        multiple_services_credit_control=tuple(lines),
    )
    answer = READER.read(cca.answer(REQUEST))
    assert (answer.result, answer.number, answer.session) == (result, number, b"a;1;2")
    assert list(answer.lines) == [_line(line) for line in lines]


def _line(line: MultipleServicesCreditControl) -> LineAnswer:
    granted, final = line.granted_service_unit, line.final_unit_indication
    return LineAnswer(
        line.rating_group,
        line.result_code,
        granted.cc_total_octets if granted else None,
        granted.cc_time if granted else None,
        granted.cc_service_specific_units if granted else None,
        line.validity_time,
        final.final_unit_action if final else None,
    )


def test_units_at_command_level_are_a_line() -> None:
    cca = CreditControlAnswer(
        session_id="a;1;2",
        result_code=2001,
        origin_host="ocs",
        origin_realm="b",
        auth_application_id=4,
        cc_request_type=CcRequestType.UPDATE_REQUEST,
        cc_request_number=1,
        granted_service_unit=GrantedServiceUnit(cc_service_specific_units=3),
        validity_time=60,
    )
    (line,) = AnswerReader().read(cca.answer(REQUEST)).lines
    assert (line.rating_group, line.result, line.granted, line.validity_s) == (None, 2001, 3, 60)


@given(st.binary(max_size=300))
def test_rubbish_is_unreadable_and_nothing_else(junk: bytes) -> None:
    with suppress(UnreadableError):
        AnswerReader().read(junk)


@pytest.mark.parametrize("cut", [1, 8, 15, 22, 29])
def test_a_cut_answer_is_not_read_by_the_shape_of_a_whole_one(cut: int) -> None:
    cca = CreditControlAnswer(
        session_id="a;1;2",
        result_code=2001,
        origin_host="ocs",
        origin_realm="b",
        auth_application_id=4,
        cc_request_type=CcRequestType.UPDATE_REQUEST,
        cc_request_number=1,
    )
    reader, frame = AnswerReader(), cca.answer(REQUEST)
    reader.read(frame)
    with pytest.raises(UnreadableError):
        reader.read(frame[:-cut])
