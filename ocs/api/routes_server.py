"""Health and readiness, and the documents of the API."""

from __future__ import annotations

from typing import Final

from ocs.access.permissions import OPEN
from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation


async def healthz(_call: ApiCall) -> ApiReply:
    """Says only that this process answers."""
    return ApiReply(schema.Health("ok", {}))


async def readyz(call: ApiCall) -> ApiReply:
    checks = await call.backoffice.checks()
    if not all(state == "ok" or state.startswith("degraded: ") for state in checks.values()):
        return ApiReply(schema.Health("unavailable", checks), 503)
    return ApiReply(schema.Health("ok" if set(checks.values()) <= {"ok"} else "degraded", checks))


OPERATIONS: Final = (
    Operation("GET", "/healthz", healthz, "Alive", OPEN, answer=schema.Health),
    Operation(
        "GET",
        "/readyz",
        readyz,
        "Ready to charge: the stores answer, and all processes are up",
        OPEN,
        answer=schema.Health,
        also=(503,),
    ),
)
