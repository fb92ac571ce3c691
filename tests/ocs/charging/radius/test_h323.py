"""Readings of a gateway's clock, and the attributes as gateways write them."""

from __future__ import annotations

from typing import Any

import pytest

from ocs.charging.radius.h323 import between_ms, clock_reading, conference, is_charged_leg, said, written
from protocol.radius.dictionary.cisco import H323_CONF_ID, H323_CREDIT_TIME
from protocol.radius.dictionary.values import AcctStatusType
from tests.ocs.charging.radius.nas import accounting

AT_MS = 1_699_971_797_123
"""2023-11-14 14:23:17.123 UTC."""


@pytest.mark.parametrize(
    ("text", "at_ms", "is_set"),
    [
        ("14:23:17.123 UTC Tue Nov 14 2023", AT_MS, True),
        ("*14:23:17.123 UTC Tue Nov 14 2023", AT_MS, False),
        (".14:23:17.123 GMT Tue Nov 14 2023", AT_MS, False),
        ("14:23:17 UTC Tue Nov 14 2023", AT_MS - 123, True),
        ("15:23:17.123 CET Tue Nov 14 2023", None, True),
        ("2023-11-14T15:23:17.123456+0100", AT_MS, True),
        ("2023-11-14T09:23:17.123456-05:00", AT_MS, True),
        ("2023-11-14T14:23:17.123Z", AT_MS, True),
    ],
    ids=["utc", "not-set", "lost", "no-ms", "other-zone", "iso", "iso-west", "iso-z"],
)
def test_an_instant_as_gateways_write_it(text: str, at_ms: int | None, is_set: bool) -> None:
    reading = clock_reading(text)
    assert reading is not None
    assert (reading.at_ms, reading.is_set) == (at_ms, is_set)


@pytest.mark.parametrize(
    "text", ["", "14:23", "25:23:17.123 UTC Tue Nov 14 2023", "14:23:17 UTC Tue Foo 14 2023", "2023-02-30T10:00:00Z"]
)
def test_what_is_no_instant_is_none(text: str) -> None:
    assert clock_reading(text) is None


@pytest.mark.parametrize(
    ("earlier", "later", "passed_ms"),
    [
        ("23:59:59.900 CET Tue Nov 14 2023", "00:00:10.000 CET Wed Nov 15 2023", 10_100),
        ("*01:00:00.000 UTC Mon Mar 1 1993", "*01:01:00.000 UTC Mon Mar 1 1993", 60_000),
        ("2023-10-29T02:59:00.000+0200", "2023-10-29T02:01:00.000+0100", 120_000),
        ("02:59:00.000 CEST Sun Oct 29 2023", "02:01:00.000 CET Sun Oct 29 2023", None),
        ("14:23:17.000 UTC Tue Nov 14 2023", "14:23:16.000 UTC Tue Nov 14 2023", None),
    ],
    ids=["midnight", "never-set", "end-of-summer", "zones-of-its-own", "backwards"],
)
def test_how_long_it_was(earlier: str, later: str, passed_ms: int | None) -> None:
    readings = clock_reading(earlier), clock_reading(later)
    assert readings[0]
    assert readings[1]
    assert between_ms(readings[0], readings[1]) == passed_ms


@pytest.mark.parametrize(
    "attributes",
    [
        {"h323-conf-id": "h323-conf-id=513F6C41 96F41810 862E0001 6CC7CC03"},
        {"h323-conf-id": "513f6c41 96f41810 862e0001 6cc7cc03"},
        {"Cisco-AVPair": "H323-Conf-Id=513F6C4196F41810862E00016CC7CC03"},
    ],
    ids=["named", "plain", "pair"],
)
def test_a_conference_has_one_spelling(attributes: dict[str, Any]) -> None:
    packet = accounting(AcctStatusType.START, **attributes)
    assert conference(packet) == "513f6c4196f41810862e00016cc7cc03"


def test_what_is_not_said_is_empty() -> None:
    assert said(accounting(AcctStatusType.START), H323_CONF_ID) == ""


@pytest.mark.parametrize(
    ("origin", "charged", "expected"),
    [
        ("originate", "originate", True),
        ("answer", "originate", False),
        ("answer", "answer", True),
        ("originate", "answer", False),
        ("answer", "any", True),
        ("proxy", "originate", True),
        (None, "originate", True),
    ],
    ids=["originate", "other", "answer", "other-way", "any", "proxy", "not-said"],
)
def test_the_leg_that_counts(origin: str | None, charged: Any, expected: bool) -> None:
    attributes = {"h323-call-origin": f"h323-call-origin={origin}"} if origin else {}
    assert is_charged_leg(accounting(AcctStatusType.STOP, **attributes), charged) is expected


def test_a_value_repeats_its_name() -> None:
    assert written(H323_CREDIT_TIME, 360).endswith(b"h323-credit-time=360")
