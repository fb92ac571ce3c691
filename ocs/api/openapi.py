"""/openapi.json, made from the operations and their types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ocs.api.operation import Operation
from ocs.api.problems import PROBLEMS, ProblemDetails, media_type_of, status_at
from ocs.api.schema import Id
from ocs.api.schema_access import ApprovalView
from ocs.api.schema_tariffs import Day, FileName
from ocs.events.event import MEDIA_TYPE, Event
from ocs.events.types import KINDS, EventKind, schema_uri
from ocs.tmf654.resources import TmfError
from ocs.tmf654.words import BASE

REF: Final = "#/components/schemas/{name}"
EVERYWHERE: Final = ("malformed", "invalid", "too-large", "busy", "store-unavailable", "internal")

KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "example": "try-1",
    "description": "Yours, one for each thing to be done. The same key and body again give the same answer, and"
    " nothing is done twice; remembered 30 days.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}
KEY_OPTIONAL: Final = {
    **KEY,
    "required": False,
    "description": "Yours, one for each thing to be done: the same key and body again give the same answer, and nothing"
    " is done twice; remembered 30 days. Without it a repeat is done again.",
}
IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "ETag of what you read, or `*`. Needed to change what exists.",
    "schema": {"type": "string"},
}
LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "Of a stream: id of the last event that was seen; it goes on after that one.",
    "schema": {"type": "string", "maxLength": 1000},
}
DEMO_IDS: Final = {"accounts": "demo-1", "subscribers": "demo-491700000001", "tariffs": "demo"}
"""What can be tried on the demo."""
IN_PATHS: Final = {"id": Id, "name": FileName, "day": Day}
ETAG: Final = {"ETag": {"description": "For If-Match", "schema": {"type": "string"}}}


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    schemas = _components(operations)
    paths: dict[str, Any] = {}
    for operation in operations:
        path = operation.path.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ocs",
            "version": version,
            "description": "Accounts, subscribers, tariffs and sessions of an online charging server. Money is decimal"
            " strings, times are RFC 3339, refusals are RFC 9457 problem details with a stable `type`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "webhooks": _webhooks(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _components(operations: Sequence[Operation]) -> dict[str, Any]:
    """The schema of each type that is taken or given, by its name."""
    answers = [kind for kind in (operation.answer for operation in operations) if kind not in (None, str)]
    bodies = [operation.body for operation in operations if operation.body not in (None, bytes)]
    told = [kind.data for kind in KINDS]
    kinds = [*dict.fromkeys([*answers, *bodies, *told]), ProblemDetails, TmfError]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    schemas = {name: _numbers(schema) for name, schema in schemas.items()}
    twice = [name for name in schemas if "." in name]  # msgspec tells two types of one name apart by their modules
    if twice:
        raise ValueError(f"two types of the API have one name: {', '.join(twice)}")
    return schemas


def _numbers(node: Any) -> Any:
    """Decimal numbers, which msgspec describes as it writes them by default, as they are written here: as numbers."""
    if isinstance(node, list):
        return [_numbers(child) for child in node]
    if not isinstance(node, dict):
        return node
    made = {name: _numbers(child) for name, child in node.items()}
    return {**made, "type": "number"} if made.get("format") == "decimal" else made


def _webhooks() -> dict[str, Any]:
    """One for each type of event: what a receiver of webhooks is sent, and what every other way out carries."""
    return {kind.name: {"post": _event(kind)} for kind in KINDS}


def _event(kind: EventKind) -> dict[str, Any]:
    means = " Written only while somebody asks for it." if kind.on_demand else ""
    name = " Only where it is asked for by name." if kind.by_name_only else ""
    data = {"type": {"const": kind.name}, "dataschema": {"const": schema_uri(kind.name, kind.version)}}
    schema = {"allOf": [_schema(Event), {"type": "object", "properties": data | {"data": _schema(kind.data)}}]}
    return {
        "operationId": f"event_{kind.name.replace('.', '_')}",
        "summary": kind.summary,
        "description": f"`subject`: {kind.subject}.{means}{name}",
        "tags": ["events"],
        "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": schema}}},
        "responses": {"2XX": {"description": "Received"}},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.handle.__name__,
        "summary": operation.summary,
        "x-permission": operation.permission,
        "tags": [group_of(operation.path)],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation)],
        "responses": _responses(operation),
    }
    if operation.description:
        made["description"] = operation.description
    if operation.keyed:
        made["parameters"].append(KEY_OPTIONAL if operation.key_optional else KEY)
    if operation.conditional:
        made["parameters"].append(IF_MATCH)
    if operation.live is not None:
        made["parameters"].append(LAST_EVENT_ID)
    if operation.body is bytes:
        content = {
            media_type: {"schema": {"type": "object" if media_type == "application/json" else "string"}}
            for media_type in operation.media_types
        }
        made["requestBody"] = {"required": True, "content": content}
    elif operation.body is not None:
        content = {"schema": _schema(operation.body)}
        if operation.examples:
            content["examples"] = {name: {"value": value} for name, value in operation.examples.items()}
        made["requestBody"] = {"required": True, "content": {"application/json": content}}
    if operation.open:
        made["security"] = []
    return made


def group_of(path: str) -> str:
    """Under which the reference shows it."""
    if path.startswith(BASE):
        return "tmf654"
    return path.split("/")[2] if path.startswith("/v1/") else "server"


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)(?::path)?\}", path):
        rule = _schema(IN_PATHS[name]) if name in IN_PATHS else {"type": "string", "minLength": 1, "maxLength": 512}
        found: dict[str, Any] = {"name": name, "in": "path", "required": True, "schema": rule}
        if name == "id" and (example := DEMO_IDS.get(path.split("/")[2])):
            found["example"] = example
        yield found


def _query_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    if operation.query is None:
        return
    _, (found,) = _one(operation.query)
    for name, rule in found["properties"].items():
        required = name in found.get("required", ())
        rule = {key: value for key, value in rule.items() if not (key == "default" and value is None)}
        yield {"name": name, "in": "query", "required": required, "schema": rule}


def _one(kind: Any) -> tuple[str, list[dict[str, Any]]]:
    _, schemas = msgspec.json.schema_components([kind], ref_template=REF)
    return kind.__name__, [schemas[kind.__name__]]


@cache
def _schema(kind: Any) -> dict[str, Any]:
    """Kept: a few dozen types are named some thousand times, and msgspec looks at all that a type leads to."""
    (made,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    return made


def _responses(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for status in (operation.status, *operation.also):
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if operation.answer is not None and status != 204:
            is_page = operation.answer is str and operation.answer_media_type == "application/json"
            media = "text/html" if is_page else operation.answer_media_type
            schema = {"type": "string"} if operation.answer is str else _schema(operation.answer)
            answer["content"] = {media: {"schema": schema}}
            if operation.live is not None:
                answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}
        if operation.conditional and status != 204:
            answer["headers"] = ETAG
        made[str(status)] = answer
    if operation.can_wait:
        content = {"application/json": {"schema": _schema(ApprovalView)}}
        made["202"] = {"description": "A second person has to approve it first", "content": content}
    kinds = [*operation.problems, *EVERYWHERE, *(() if operation.open else ("unauthorized", "forbidden", "too-many"))]
    for kind in kinds:
        row = PROBLEMS[kind]
        shape = TmfError if operation.path.startswith(BASE) else ProblemDetails
        content = {media_type_of(operation.path): {"schema": _schema(shape)}}
        known = made.setdefault(str(status_at(operation.path, row.status)), {"description": "", "content": content})
        known["description"] = ", ".join(filter(None, [known["description"], f"{kind}: {row.title}"]))
    return dict(sorted(made.items()))
