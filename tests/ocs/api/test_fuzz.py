"""Everything /openapi.json allows, and much it does not, sent to a server that listens: never a 5xx, always an answer
of the shape it promised."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ocs.api.openapi import group_of
from ocs.api.server import OPERATIONS
from tests.ocs.api_harness import TOKEN

EXAMPLES: Final = {GenerationMode.POSITIVE: 2, GenerationMode.NEGATIVE: 1}
"""For each operation, of `make test`."""
LONG: Final = 100
"""Of `make fuzz`, in either mode."""
ANSWER_S: Final = 120
"""Generous: the proof of the ledger walks everything, beside other tests on the same cores."""
CHECKS: Final = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
GROUPS: Final = sorted({group_of(operation.path) for operation in OPERATIONS})
AT_HOME: Final[Mapping[str, Any]] = {
    "account": "a1",
    "subscriber": "a1",
    "identity": "username:a1",
    "from": "a1",
    "to": "A",
    "currency": "EUR",
    "tariff": "flat",
    "service": "data",
    "bucket": {"id": "a1:0"},
    "receiverBucket": {"id": "A:0"},
    "partyAccount": {"id": "a1"},
    "usageType": "monetary",
    "receiverBucketUsageType": "monetary",
    "units": "EUR",
}
"""What is there, by the field that says it: a random name is nobody's, and the request ends there."""
PATHS: Final = {"accounts": "a1", "subscribers": "a1", "tariffs": "flat", "bucket": "a1:0", "topupBalance": "a1:1"}
"""Likewise by the part of a path before it."""


def at_home(body: Any) -> Any:
    """A body about what is there."""
    if isinstance(body, list):
        return [at_home(one) for one in body]
    if not isinstance(body, dict):
        return body
    return {name: AT_HOME[name] if _alike(name, value) else at_home(value) for name, value in body.items()}


def _alike(name: str, value: Any) -> bool:
    return name in AT_HOME and isinstance(value, type(AT_HOME[name]))


def send_all(address: str, groups: list[str], examples: Mapping[GenerationMode, int], *, derandomize: bool) -> int:
    """How many operations were sent."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    found: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    wanted = [one for one in found if group_of(one.path) in groups]
    for operation in wanted:
        for mode, count in examples.items():
            with contextlib.suppress(Unsatisfiable):  # /healthz cannot be asked wrongly
                send(operation, mode, count, derandomize=derandomize)
    return len(wanted)


def send(operation: Any, mode: GenerationMode, count: int, *, derandomize: bool) -> None:
    """Requests of one operation."""
    before, _, named = operation.path.partition("/{")
    known = PATHS.get(before.rpartition("/")[2]) if named else None

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), home=st.booleans())
    def one(case: schemathesis.Case[Any], home: bool) -> None:
        if home and mode is GenerationMode.POSITIVE:
            case.body = at_home(case.body)
            if known is not None and case.path_parameters:
                case.path_parameters[next(iter(case.path_parameters))] = known
        answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=ANSWER_S)
        case.validate_response(answer, checks=list(CHECKS))

    one()


def test_no_request_is_a_surprise(address: str) -> None:
    assert send_all(address, GROUPS, EXAMPLES, derandomize=True) == len(OPERATIONS)


@pytest.mark.fuzz
@pytest.mark.parametrize("group", GROUPS)
def test_many_requests_are_no_surprise(address: str, group: str) -> None:
    assert send_all(address, [group], dict.fromkeys(EXAMPLES, LONG), derandomize=False)
