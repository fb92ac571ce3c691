"""What is refused, with which code, and exactly what goes into Failed-AVP; and what must not be refused."""

from typing import Any

import pytest

from protocol.diameter.answers import error_answer
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import CapabilitiesExchangeRequest, ErrorAnswer
from protocol.diameter.dictionary.credit_control import CreditControlAnswer, CreditControlRequest, SubscriptionId
from protocol.diameter.header import PROXIABLE, REQUEST, RETRANSMITTED
from protocol.diameter.tree import decode_avps, decode_tree, encode_avps
from protocol.diameter.walk import MAX_AVPS, MAX_DEPTH
from protocol.errors import AvpError, HeaderError, ProtocolError, ResultCode
from tests.protocol.messages import CCR_E, CCR_I, CCR_U, Tree, avp, ccr, cer, message

UNKNOWN = avp(999_998, b"abcd")
UNKNOWN_HEX = "000f423e4000000c61626364"


def refused(frame: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        DICTIONARY.decode(frame)
    with pytest.raises(ProtocolError) as again:  # nothing was learnt from it
        DICTIONARY.decode(frame)
    assert again.value.result_code == caught.value.result_code
    return caught.value


def test_closed_enumeration() -> None:
    kind, frame = bytes.fromhex("000001a04000000c"), ccr()
    bad, at = kind + bytes((0, 0, 0, 9)), frame.index(kind)
    error = refused(frame[:at] + bad + frame[at + len(bad) :])
    assert (error.result_code, error.failed_avp) == (5004, bad)


def raw(code: int, length: int, data: str, flags: int = 0x40) -> bytes:
    """An AVP whose length says what we want it to."""
    return code.to_bytes(4, "big") + bytes((flags,)) + length.to_bytes(3, "big") + bytes.fromhex(data)


def with_raw(tail: bytes) -> bytes:
    frame = ccr() + tail
    return frame[:1] + len(frame).to_bytes(3, "big") + frame[4:]


def group(code: int, inside: bytes, vendor: int = 0) -> Tree:
    return avp(code, inside, vendor=vendor)


UNIT = avp(446, [avp(421, 5, "Unsigned64")])
MSCC = avp(456, [avp(432, 10), UNIT])

AVPS = [  # what, AVPs added to a good CCR, code, Failed-AVP
    ("unknown with M", [UNKNOWN], 5001, UNKNOWN_HEX),
    ("unknown vendor with M", [avp(77, b"ab", vendor=99_999)], 5001, "0000004dc000000e0001869f61620000"),
    ("vendor AVP without its V bit", [avp(872, 1, flags=0x40)], 5001, "000003684000000c00000001"),
    ("unknown in a typed group", [avp(456, [UNKNOWN])], 5001, "000001c840000014" + UNKNOWN_HEX),
    (
        "unknown two groups down",
        [avp(456, [avp(446, [UNKNOWN])])],
        5001,
        "000001c84000001c" + "000001be40000014" + UNKNOWN_HEX,
    ),
    (
        "unknown in a lazy group",
        [avp(873, [avp(874, [UNKNOWN], vendor=10415)], vendor=10415)],
        5001,
        "00000369c0000024000028af" + "0000036ac0000018000028af" + UNKNOWN_HEX,
    ),
    (
        "unknown in a known group without a class",
        [avp(873, [avp(878, [UNKNOWN], vendor=10415)], vendor=10415)],
        5001,
        "00000369c0000024000028af" + "0000036ec0000018000028af" + UNKNOWN_HEX,
    ),
    ("number twice", [avp(415, 8)], 5009, "0000019f4000000c00000008"),
    (
        "second in a group",
        [avp(456, [avp(432, 1), avp(432, 2)])],
        5009,
        "000001c840000014" + "000001b04000000c00000002",
    ),
    ("text that is no UTF-8", [avp(1, b"\xff\xfe")], 5004, "000000014000000afffe0000"),
    ("identity that is no ASCII", [avp(293, "käse")], 5004, "000001254000000d" + "6bc3a47365000000"),
    ("application of another", [avp(259, 3)], 2001, ""),
    ("Result-Code in a request", [avp(268, 2001)], 5008, "0000010c4000000c000007d1"),
    ("GSU in a request", [avp(431, [])], 5008, "000001af40000008"),
    ("Validity-Time in a request", [avp(448, 1)], 5008, "000001c04000000c00000001"),
    ("Failed-AVP in a request", [avp(279, b"junk")], 5008, "000001174000000c6a756e6b"),
    ("group without its member", [avp(443, [avp(450, 0)])], 5005, "000001bb40000010" + "000001bc40000008"),
    (
        "money without its value",
        [avp(437, [avp(413, [])])],
        5005,
        "000001b540000018" + "0000019d40000010" + "000001bd40000008",
    ),
    ("number too long", [avp(448 - 29, 1)], 5014, "000001a34000000c00000001"),
    ("number too short in a group", [avp(446, [avp(421, 1)])], 5014, "000001be40000014" + "000001a54000000c00000001"),
    ("address without a family", [avp(257, b"\0")], 2001, ""),
    ("unknown AVP flags", [avp(1, "x", flags=0x41)], 3009, "000000014100000978000000"),
    ("VSAI without an id", [avp(260, [avp(266, 10415)])], 5005, None),
]


@pytest.mark.parametrize(("what", "avps", "code", "failed"), AVPS, ids=[row[0] for row in AVPS])
def test_avp(what: str, avps: list[Tree], code: int, failed: str | None) -> None:
    if code == 2001:
        CreditControlRequest.decode(ccr(*avps))
        return
    error = refused(ccr(*avps))
    assert (error.result_code, error.e_bit) == (code, 3000 <= code < 4000), error.why
    if failed is not None:
        assert error.failed_avp.hex() == failed
    decode_avps(error.failed_avp)  # well-formed whatever was wrong


def test_vsai_without_an_id_shows_examples_of_both() -> None:
    error = refused(cer(avp(260, [avp(266, 10415)]), apps=()))
    (failed,) = decode_avps(error.failed_avp)
    assert [(one["name"], one["value"]) for one in failed["avps"]] == [
        ("Vendor-Id", 10415),
        ("Auth-Application-Id", 0),
        ("Acct-Application-Id", 0),
    ]


MISSING = [(263, "0000010740000008"), (283, "0000011b40000008"), (415, "0000019f4000000c00000000")]
MISSING += [(416, "000001a04000000c00000000"), (461, "000001cd40000008"), (258, "000001024000000c00000000")]


@pytest.mark.parametrize(("code", "failed"), MISSING)
def test_missing(code: int, failed: str) -> None:
    error = refused(ccr(without=(code,)))
    assert (error.result_code, error.failed_avp.hex()) == (5005, failed)


def test_an_event_must_say_its_action() -> None:
    error = refused(ccr(request_type=4))
    assert (error.result_code, error.failed_avp.hex()) == (5005, "000001b44000000c00000000")
    DICTIONARY.decode(ccr(avp(436, 0), request_type=4))


LENGTHS = [  # what, octets behind a good CCR, Failed-AVP
    ("below its header", raw(1, 7, "61626364"), "0000000140000008"),
    ("beyond the message", raw(1, 200, "61626364"), "0000000140000008"),
    ("of a number beyond the message", raw(415, 200, "00000001"), "0000019f4000000c00000000"),
    ("of a long number beyond the message", raw(421, 200, "00000001"), "000001a54000001000000000" + "00000000"),
    ("of a group beyond the message", raw(456, 200, "00000001"), "000001c840000008"),
    ("of an unknown AVP", raw(999_998, 3, ""), "000f423e40000008"),
    ("too small for a vendor", raw(21, 8, "000028af", flags=0xC0), "00000015c000000c000028af"),
    ("four octets left", bytes.fromhex("0000019f"), "0000019f0000000c00000000"),
    ("a vendor cut off", raw(21, 12, "", flags=0xC0), "00000015c000000c00000000"),
]


@pytest.mark.parametrize(("what", "tail", "failed"), LENGTHS, ids=[row[0] for row in LENGTHS])
def test_length(what: str, tail: bytes, failed: str) -> None:
    error = refused(with_raw(tail))
    assert (error.result_code, error.failed_avp.hex()) == (5014, failed)
    error = refused(ccr(group(456, tail)))  # and inside a group, where its neighbours could hide it
    wrapped = "000001c8400000" + f"{8 + len(failed) // 2:02x}" + failed
    assert (error.result_code, error.failed_avp.hex()) == (5014, wrapped)


def edit(frame: bytes, **at: Any) -> bytes:
    made = bytearray(frame)
    for where, value in at.items():
        start = int(where[1:])
        made[start : start + len(value)] = value
    return bytes(made)


HEADERS = [
    ("version 2", edit(CCR_I, _0=b"\2"), 5011),
    ("length longer than the frame", edit(CCR_I, _1=b"\0\3\0"), 5015),
    ("length no multiple of four", edit(CCR_I, _1=(len(CCR_I) + 2).to_bytes(3, "big")) + b"\0\0", 5015),
    ("no header", CCR_I[:12], 5015),
    ("nothing", b"", 5015),
    ("R and E", edit(CCR_I, _4=b"\xe0"), 3008),
    ("unknown command", edit(CCR_I, _5=b"\0\x27\x0f"), 3001),
    ("application 0", edit(CCR_I, _8=b"\0\0\0\0"), 3007),
    ("application of a relay", edit(CCR_I, _8=b"\xff\xff\xff\xff"), 3007),
]


@pytest.mark.parametrize(("what", "frame", "code"), HEADERS, ids=[row[0] for row in HEADERS])
def test_header(what: str, frame: bytes, code: int) -> None:
    error = refused(frame)
    assert isinstance(error, HeaderError)
    assert (error.result_code, error.e_bit, error.failed_avp) == (code, 3000 <= code < 4000, b"")


def test_a_class_takes_its_own_command_only() -> None:
    with pytest.raises(HeaderError) as caught:
        CreditControlAnswer.decode(CCR_I)
    assert caught.value.result_code == 3008
    with pytest.raises(HeaderError) as caught:
        CapabilitiesExchangeRequest.decode(CCR_I)
    assert caught.value.result_code == 3001


def test_nesting_and_number_are_limited() -> None:
    deep = UNIT
    for _ in range(MAX_DEPTH):
        deep = avp(878, [deep], vendor=10415)
    assert refused(ccr(avp(873, [deep], vendor=10415))).result_code == 5012
    deep = UNIT
    for _ in range(MAX_DEPTH - 2):
        deep = avp(878, [deep], vendor=10415)
    DICTIONARY.decode(ccr(avp(873, [deep], vendor=10415)))
    DICTIONARY.decode(ccr(*[avp(282, "a")] * (MAX_AVPS - 8)))
    assert refused(ccr(*[avp(282, "a")] * MAX_AVPS)).result_code == 5012


def ps(*avps: Tree) -> Tree:
    """Service-Information with a PS-Information."""
    return avp(873, [avp(874, list(avps), vendor=10415)], vendor=10415)


TOLERATED = [  # field notes: what real nodes send
    ("Origin-Host and Origin-Realm twice", [avp(264, "other.example.com"), avp(296, "other")]),
    ("accounting AVPs with M", [avp(480, 2), avp(485, 1)]),
    ("Event-Timestamp without M", [avp(55, 3976257600, "Time", flags=0)]),
    ("User-Equipment-Info as text", [avp(458, [avp(459, 0), avp(460, "356938035643809")])]),
    ("Subscription-Id of a new type", [avp(443, [avp(450, 9), avp(444, "x")])]),
    ("Requested-Action in U", [avp(436, 0)]),
    ("AoC-Request-Type with M", [avp(2055, 1, vendor=10415)]),
    ("QoS-Information in MSCC", [avp(456, [avp(1016, [avp(1028, 9, vendor=10415)], vendor=10415)])]),
    ("Reporting-Reason in USU", [avp(456, [avp(446, [avp(872, 3, vendor=10415)])])]),
    ("Reporting-Reason beside USU", [avp(456, [UNIT, avp(872, 3, vendor=10415)])]),
    ("MSCC though MSI is 0", [avp(455, 0), MSCC]),
    ("MSI of a future", [avp(455, 7), MSCC]),
    ("MSCC without anything", [avp(456, [])]),
    ("command-level RSU and USU", [avp(437, []), UNIT]),
    ("unknown without M", [avp(999_998, b"abc", flags=0)]),
    ("unknown group without M with members with M", [avp(999_997, [UNKNOWN], flags=0)]),
    ("unknown without M in a group", [avp(456, [avp(999_998, b"abc", flags=0)])]),
    ("reserved P flag of an AVP", [avp(1, "u", flags=0x60)]),
    ("M on an AVP that must not have it", [avp(269, "x", flags=0x40)]),
    ("NASREQ AVPs", [avp(4, b"\x7f\0\0\1"), avp(61, 5), avp(31, "4917"), avp(8, b"\x0a\0\0\1")]),
    ("OC-Supported-Features", [avp(621, [avp(622, 1, "Unsigned64")], flags=0)]),
    (
        "binary charging characteristics",
        [avp(873, [avp(874, [avp(13, b"\x08\xff", vendor=10415)], vendor=10415)], vendor=10415)],
    ),
    (
        "PS-Information with a member twice",
        [avp(873, [avp(874, [avp(18, "00101", vendor=10415)] * 2, vendor=10415)], vendor=10415)],
    ),
    ("IMS-Information without Node-Functionality", [avp(873, [avp(876, [], vendor=10415)], vendor=10415)]),
    ("non-ASCII user name", [avp(1, "jürgen")]),
    ("empty texts", [avp(1, ""), avp(444, "")]),
]


@pytest.mark.parametrize(("what", "avps"), TOLERATED, ids=[row[0] for row in TOLERATED])
def test_tolerated(what: str, avps: list[Tree]) -> None:
    frame = ccr(*avps)
    first, second = CreditControlRequest.decode(frame), CreditControlRequest.decode(frame)
    assert first == second
    assert first.origin_host == "gw.example.com"
    assert repr(first) == repr(second)


def test_vsai_instead_of_auth_application_id() -> None:
    frame = ccr(avp(260, [avp(266, 10415), avp(258, 4)]), without=(258,))
    request = CreditControlRequest.decode(frame)
    assert request.auth_application_id is None
    assert request.vendor_specific_application_id[0].auth_application_id == 4


def test_a_group_without_the_padding_of_its_last_member() -> None:
    inside = raw(444, 11, "313233")  # length of the group 8 + 12 + 11: its padding is outside
    frame = ccr(avp(443, encode_avps([avp(450, 0)]) + inside))
    assert CreditControlRequest.decode(frame).subscription_id == (
        SubscriptionId(subscription_id_type=0, subscription_id_data="123"),
    )


def test_padding_that_is_not_zero() -> None:
    frame = ccr(avp(1, "x"))
    assert CreditControlRequest.decode(frame[:-3] + b"\xff\xff\xff").user_name == "x"


def test_unknown_avps_are_kept_whole() -> None:
    request = CreditControlRequest.decode(ccr(avp(999_998, b"abc", flags=0), avp(456, [avp(999_999, b"x", flags=0)])))
    assert request.others == (bytes.fromhex("000f423e0000000b61626300"),)
    assert request.multiple_services_credit_control[0].others == (bytes.fromhex("000f423f0000000978000000"),)
    again = CreditControlRequest.decode(request.encode(hop_by_hop=1, end_to_end=2))
    assert again == request


# ---- answers to what was refused


def test_error_answer_echoes_what_it_must() -> None:
    proxies = [avp(284, [avp(280, f"p{n}.example.com"), avp(33, bytes(n))]) for n in (3, 1, 2)]
    frame = ccr(proxies[0], UNKNOWN, proxies[1], proxies[2], flags=REQUEST | PROXIABLE | RETRANSMITTED)
    answer = error_answer(frame, refused(frame), origin_host="o", origin_realm="r", origin_state_id=5)
    tree = decode_tree(answer)
    assert tree["flags"] == PROXIABLE
    assert [one["name"] for one in tree["avps"]] == [
        "Session-Id", "Result-Code", "Origin-Host", "Origin-Realm", "Auth-Application-Id", "CC-Request-Type",
        "CC-Request-Number", "Origin-State-Id", "Error-Message", "Failed-AVP", "Proxy-Info", "Proxy-Info", "Proxy-Info",
    ]  # fmt: skip
    assert encode_avps(tree["avps"][-3:]) == encode_avps(proxies)
    typed = CreditControlAnswer.decode(answer)  # a whole CCA, which its client can read
    assert typed.result_code == ResultCode.AVP_UNSUPPORTED
    assert typed.failed_avp == (bytes.fromhex(UNKNOWN_HEX),)


def test_error_answer_with_the_e_bit() -> None:
    answer = DICTIONARY.decode(error_answer(CCR_U, ResultCode.TOO_BUSY, origin_host="o", origin_realm="r", why="later"))
    assert isinstance(answer, ErrorAnswer)
    assert (answer.result_code, answer.error_message, answer.flags) == (3004, "later", 0x60)
    assert answer.session_id == CreditControlRequest.decode(CCR_U).session_id
    with pytest.raises(HeaderError):
        CreditControlAnswer.decode(answer.frame)


@pytest.mark.parametrize("cut", [0, 10, 20, 24, 40, 100])
def test_error_answer_to_anything(cut: int) -> None:
    answer = error_answer(
        CCR_E[:cut], AvpError(ResultCode.UNABLE_TO_COMPLY, "x" * 999), origin_host="o", origin_realm="r"
    )
    assert len(answer) == int.from_bytes(answer[1:4], "big") < 400
    decode_tree(answer)


def test_a_typed_answer_echoes_header_and_proxies() -> None:
    proxies = [avp(284, [avp(280, f"p{n}"), avp(33, b"s", flags=0)], flags=0) for n in (2, 1)]
    request = CreditControlRequest.decode(ccr(*proxies))
    answer = CreditControlAnswer(
        session_id=request.session_id,
        result_code=2001,
        origin_host="o",
        origin_realm="r",
        auth_application_id=4,
        cc_request_type=request.cc_request_type,
        cc_request_number=request.cc_request_number,
    ).answer(request)
    tree = decode_tree(answer)
    assert (tree["flags"], tree["application"], tree["hop_by_hop"], tree["end_to_end"]) == (PROXIABLE, 4, 1, 2)
    assert encode_avps(tree["avps"][-2:]) == encode_avps(proxies)


def test_an_answer_of_another_command_in_between() -> None:
    with pytest.raises(ProtocolError):
        DICTIONARY.decode(message(9999, [], flags=0))
