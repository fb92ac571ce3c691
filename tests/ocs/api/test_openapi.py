"""/openapi.json: rules that those stumble over who read it (test_generated_client.py is one of them)."""

import json
import re
from typing import Any

import msgspec
import pytest

from ocs.access.permissions import OPEN
from ocs.api.openapi import openapi
from ocs.api.operation import Operation
from ocs.api.server import OPERATIONS

DOCUMENT = json.loads(msgspec.json.encode(openapi(OPERATIONS, "1")))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def every(node: Any) -> Any:
    """All objects in it."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from every(child)


def test_what_is_referred_to_is_there() -> None:
    referred = {node["$ref"].rpartition("/")[2] for node in every(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert referred <= set(SCHEMAS)


def test_types_have_names_for_readers_and_no_modules_of_ours() -> None:
    assert [name for name in SCHEMAS if not re.fullmatch("[A-Z][A-Za-z]+", name)] == []
    assert [name for name in SCHEMAS if re.search(r"\bocs\.|routes_|schema_", json.dumps(SCHEMAS[name]))] == []


def test_two_types_of_one_name_are_refused() -> None:
    async def handle(_call: Any) -> Any: ...

    one, other = (msgspec.defstruct("Thing", [(field, int)], module=f"of.{field}") for field in ("a", "b"))
    rows = [Operation("GET", f"/v1/{kind.__module__}", handle, "x", OPEN, answer=kind) for kind in (one, other)]
    with pytest.raises(ValueError, match="two types of the API have one name"):
        openapi(rows, "1")


def test_lists_are_of_one_type() -> None:
    """`prefixItems` with `items: false` is JSON Schema, and no generator of clients takes it."""
    assert [node for node in every(SCHEMAS) if "prefixItems" in node] == []


@pytest.mark.parametrize(
    ("schema", "field", "good", "bad"),
    [
        ("TopUp", "amount", ["0.01", "1073741824"], ["0", "0.00", "-1", "1e3"]),
        ("Adjustment", "amount", ["-0.01", "5"], ["0", "-0.00"]),
        ("CorrectionBody", "amount", ["-0.01", "5"], ["0.000000"]),
        ("AccountPut", "credit_limit", ["0", "50.00"], ["-0.01"]),
    ],
)
def test_what_the_server_enforces_is_written_there(schema: str, field: str, good: list[str], bad: list[str]) -> None:
    rule = SCHEMAS[schema]["properties"][field]
    pattern = (rule.get("anyOf") or [rule])[0]["pattern"]
    assert all(re.search(pattern, text) for text in good)
    assert not any(re.search(pattern, text) for text in bad)


def test_an_identity_has_one_of_the_kinds() -> None:
    pattern = SCHEMAS["SubscriberPut"]["properties"]["identities"]["items"]["pattern"]
    assert re.search(pattern, "msisdn:491700000001")
    assert not re.search(pattern, "subscriber:x")
    assert not re.search(pattern, "491700000001")


@pytest.mark.parametrize(
    ("operation", "name"),
    [(one, name) for one in OPERATIONS for name in one.examples],
    ids=lambda value: str(value)[:40],
)
def test_an_example_is_a_body(operation: Operation, name: str) -> None:
    msgspec.convert(operation.examples[name], operation.body)
