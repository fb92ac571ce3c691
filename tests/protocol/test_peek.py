"""A look into octets that are not decoded."""

from typing import Any

from hypothesis import given
from hypothesis.strategies import binary

from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlRequest,
    MultipleServicesCreditControl,
)
from protocol.diameter.dictionary.credit_values import CC_REQUEST_TYPE, SERVICE_CONTEXT_ID
from protocol.diameter.peek import first, first_number


def ccr(**fields: Any) -> bytes:
    message = CreditControlRequest(
        **{
            "session_id": "a;1;2",
            "origin_host": "gw.example.net",
            "origin_realm": "example.net",
            "destination_realm": "example.net",
            "auth_application_id": 4,
            "service_context_id": "32251@3gpp.org",
            "cc_request_type": CcRequestType.TERMINATION_REQUEST,
            "cc_request_number": 1,
            **fields,
        }
    )
    return message.encode(hop_by_hop=1, end_to_end=1)


def test_the_type_of_a_request() -> None:
    for kind in CcRequestType:
        assert first_number(ccr(cc_request_type=kind), CC_REQUEST_TYPE.code) == kind
    assert first(ccr(), SERVICE_CONTEXT_ID.code) == b"32251@3gpp.org"


def test_no_text_imitates_it() -> None:
    """Octets that look like the AVP, inside of another one's data, are that data."""
    disguise = (b"\x00\x00\x01\xa0\x40\x00\x00\x0c\x00\x00\x00\x02").decode("latin-1").replace("\xa0", "A")
    frame = ccr(session_id=disguise, cc_request_type=CcRequestType.INITIAL_REQUEST)
    assert first_number(frame, CC_REQUEST_TYPE.code) == CcRequestType.INITIAL_REQUEST
    inside = frame.replace(disguise.encode(), b"\x00\x00\x01\xa0\x40\x00\x00\x0c\x00\x00\x00\x02")
    assert inside != frame
    assert first_number(inside, CC_REQUEST_TYPE.code) == CcRequestType.INITIAL_REQUEST


def test_what_is_not_there() -> None:
    assert first_number(b"", 416) == 0
    assert first_number(ccr()[:40], 416) == 0
    assert first(ccr(multiple_services_credit_control=(MultipleServicesCreditControl(rating_group=10),)), 432) == b""


@given(binary(max_size=200))
def test_rubbish_is_nothing_to_it(junk: bytes) -> None:
    first_number(junk, 416)
