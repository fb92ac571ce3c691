"""Refusals say in words what was expected."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ocs.api.operation import readable
from ocs.api.schema import AccountPut, SubscriberPut, TopUp
from ocs.api.server import OPERATIONS
from ocs.config.tree import Config
from ocs.patterns import in_words


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        (AccountPut, {"currency": "euro"}, 'currency: expected three capital letters such as "EUR"'),
        (AccountPut, {"currency": "EUR", "credit_limit": "1,5"}, 'credit_limit: expected an amount such as "12.50"'),
        (TopUp, {"amount": "1", "valid_until": "tomorrow"}, "valid_until: expected an instant with its offset"),
        (
            SubscriberPut,
            {"account": "a1", "identities": [], "tariffs": [{"tariff": "a b"}]},
            "tariffs[0].tariff: expected an id of 1 to 64 letters, digits and . _ : @ + -, which begins with",
        ),
        (
            SubscriberPut,
            {"account": "a1", "identities": [], "tariffs": [], "attributes": {"a b": "1"}},
            "a name in attributes: expected a name of 1 to 64 letters",
        ),
    ],
)
def test_words(kind: Any, body: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(body, kind)
    assert readable(refused.value).startswith(says)


def patterns(kind: Any) -> Iterator[str]:
    _, schemas = msgspec.json.schema_components([kind])
    waiting: list[Any] = [schemas]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("pattern"), str):
                yield one["pattern"]
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def test_every_pattern_has_its_words() -> None:
    asked = {kind for one in OPERATIONS for kind in (one.body, one.query) if kind not in (None, bytes)}
    found = {pattern for kind in asked for pattern in patterns(kind)}
    assert len(found) > 10
    for pattern in found:
        assert "regex" not in in_words(f"Expected `str` matching regex {pattern!r}"), pattern
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({"diameter": {"origin_host": "a b"}}, Config)
    assert "a name without blanks" in in_words(str(refused.value))
