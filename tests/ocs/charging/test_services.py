"""Which row serves a context, and rows as the configuration wants them."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.charge import Result
from ocs.charging.outcomes import DIAMETER, OUTCOMES, RadiusAnswer
from ocs.charging.request import FinalAction
from ocs.charging.services import REMEMBERED_MAX, SERVICES, Services, service_table, unserved
from tariffs.units import Kind

CONTEXTS = """
32251@3gpp.org                       data
ext.01.001.8.32251@3gpp.org          data
8.32251@3GPP.ORG                     data
32255@3gpp.org                       data
ext.01.001.8.32260@3gpp.org          voice
10.32276@3gpp.org                    voice
10.32275@3gpp.org                    voice
32274@3gpp.org                       sms
6.32270@3gpp.org                     mms
32271@3gpp.org                       generic
132251@3gpp.org                      -
32251@3gpp.org.example               -
context@vendor.com                   -
-                                    -
"""


@pytest.mark.parametrize("line", CONTEXTS.strip().splitlines())
def test_the_tail_of_the_context_says_which(line: str) -> None:
    context, name = line.split()
    found = Services().of(context)
    assert (found.name if found else "-") == name


def test_vendors_have_their_own_contexts() -> None:
    table = service_table(
        changes={"iot": {"contexts": ["*@vendor.com"], "unit": "octets"}, "sms": {"contexts": ["x@y"]}}
    )
    iot, sms = table.of("context@vendor.com"), table.of("x@y")
    assert iot is not None
    assert sms is not None
    assert (iot.name, iot.unit, sms.name) == ("iot", Kind.OCTETS, "sms")


def served(changes: dict[str, dict[str, Any]], *contexts: str) -> list[str]:
    table = service_table(changes=changes)
    return [found.name if (found := table.of(context)) else "-" for context in contexts]


def test_contexts_are_added_and_only_what_says_so_takes_their_place() -> None:
    asked = ("1.32251@3gpp.org", "gy@vendor.example")
    assert served({"data": {"contexts": ["gy@vendor.example"]}}, *asked) == ["data", "data"]
    assert served({"data": {"contexts_only": ["gy@vendor.example"]}}, *asked) == ["-", "data"]
    assert served({"data": {"contexts_only": []}}, *asked) == ["-", "-"]
    assert served({"tv": {"contexts_only": ["gy@vendor.example"], "unit": "units"}}, *asked) == ["data", "tv"]


def test_the_configuration_can_move_a_context() -> None:
    volte: dict[str, Any] = {"contexts": ["32260@3gpp.org"], "unit": "seconds"}
    assert served({"volte": volte}, "8.32260@3gpp.org", "8.32276@3gpp.org") == ["volte", "voice"]


def test_built_in_contexts_that_nobody_serves_are_named() -> None:
    assert unserved(service_table()) == []
    assert unserved(service_table(changes={"data": {"contexts": ["x@y"]}})) == []
    gone = unserved(service_table(changes={"sms": {"contexts_only": ["x@y"]}}))
    assert gone == ["32274@3gpp.org"]
    moved: dict[str, dict[str, Any]] = {
        "sms": {"contexts_only": ["x@y"]},
        "text": {"contexts": ["32274@3gpp.org"], "unit": "units"},
    }
    assert unserved(service_table(changes=moved)) == []


def test_contexts_from_outside_do_not_fill_memory() -> None:
    table = Services()
    for number in range(REMEMBERED_MAX + 10):
        table.of(f"{number}@nowhere")
    assert len(table._remembered) <= REMEMBERED_MAX


def test_configuration_wins_over_defaults_and_defaults_over_nothing_a_row_says() -> None:
    quota = {"default": 60, "minimum": 30, "maximum": 600}
    table = service_table(
        {"validity_s": 300, "seconds": quota},
        {"data": {"validity_s": 900, "final": {"action": "redirect", "address": "http://topup.example.net"}}},
    )
    data, voice, sms = table.by_name["data"], table.by_name["voice"], table.by_name["sms"]
    assert (data.validity_s, voice.validity_s, sms.validity_s) == (900, 300, 300)
    assert data.final.action is FinalAction.REDIRECT
    assert sms.seconds.default == 60
    assert voice.seconds == next(row for row in SERVICES if row.name == "voice").seconds  # it has its own


def test_what_a_row_names_stands_also_where_it_is_the_built_in_default() -> None:
    plain = service_table().by_name["data"]
    raised = {"validity_s": 300, "octets": {"default": 2**21}, "seconds": {"minimum": 10}}
    table = service_table(raised, {"data": {"validity_s": 600, "octets": {"default": plain.octets.default}}})
    data, voice, sms = table.by_name["data"], table.by_name["voice"], table.by_name["sms"]
    assert (data.validity_s, data.octets, sms.octets.default) == (600, plain.octets, 2**21)
    assert (voice.seconds.minimum, sms.seconds.minimum, data.seconds.minimum) == (30, 10, 10)  # 30 is its own


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data": {"validty_s": 1}}, "data.validty_s: no such key"),
        ({"data": {"validity_s": 0}}, "data.validity_s: expected int >= 1"),
        ({"data": {"final": {"action": "redirect"}}}, "data: expected final.address"),
        (
            {"data": {"final": {"action": "restrict_access", "filter": ["x"]}}},
            "data.final.filter: no such key",
        ),
        ({"data": {"final": {"address": "http://x"}}}, "data: expected final.action, redirect or restrict_access"),
        ({"data": {"final": {"action": "restrict_access", "address": "http://x"}}}, "data: expected no final.address"),
        ({"data": {"contexts": ["a@B"]}, "sms": {"contexts": ["A@b"]}}, "sms.contexts: 'A@b' is one of data already"),
        (
            {"data": {"final": {"action": "explode"}}},
            "data.final.action: expected one of terminate, redirect, restrict_access, found 'explode'",
        ),
        (
            {"data": {"octets": {"default": 1, "minimum": 2, "maximum": 3}}},
            "data.octets: expected minimum <= default <= maximum",
        ),
        ({"data": {"holding_s": 600}}, "holding_s < validity_s"),
        ({"data": {"unit": "parsec"}}, "data.unit: expected one of money, octets, seconds, units, found 'parsec'"),
        ({"data": {"name": "x"}}, "data.name: a service cannot be renamed"),
        ({"data": {"contexts": "a@b"}}, 'data.contexts: expected a list of contexts such as ["32251@3gpp.org"]'),
        ({"data": {"contexts": [""]}}, "data.contexts: expected a list"),
        ({"data": {"contexts": ["a@b"], "contexts_only": ["a@b"]}}, "data: expected either `contexts`"),
        ({"data": {"contexts": ["a@b"]}, "sms": {"contexts": ["a@b"]}}, "sms.contexts: 'a@b' is one of data already"),
        ({"new": {"contexts": ["a@b"]}}, "new: expected unit to be given"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, dict[str, object]], why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        service_table(changes=changes)


def test_every_row_can_grant_what_it_wants_to() -> None:
    for row in SERVICES:
        for kind in Kind:
            quota = row.quota(kind)
            assert quota.minimum <= quota.default <= quota.maximum
        assert row.holding_s is None or row.holding_s < row.validity_s


def test_every_result_has_its_row() -> None:
    assert set(OUTCOMES) == set(Result)
    told_apart = [Result.USER_UNKNOWN, Result.DENIED, Result.NOT_APPLICABLE, Result.CREDIT_LIMIT, Result.RATING_FAILED]
    told_apart += [Result.SESSION_UNKNOWN, Result.UNABLE]
    assert [DIAMETER[result] for result in told_apart] == [5030, 4010, 4011, 4012, 5031, 5002, 5012]
    refused = {result for result, row in OUTCOMES.items() if row.radius is RadiusAnswer.REJECT}
    assert refused == {result for result in refused if DIAMETER[result] not in (2001, 4011)}  # as in Diameter
    assert all(row.words or DIAMETER[result] == 2001 for result, row in OUTCOMES.items())  # a refusal says why
