"""Whether we are well, and how to talk to us."""

from __future__ import annotations

from typing import Final

from ocs.api import schema
from ocs.api.operation import Call, Operation, Reply


async def healthz(_call: Call) -> Reply:
    """This process answers: that is all it says."""
    return Reply(schema.Health("ok", {}))


async def readyz(call: Call) -> Reply:
    checks = await call.desk.checks()
    if not all(state == "ok" or state.startswith("degraded: ") for state in checks.values()):
        return Reply(schema.Health("unavailable", checks), 503)
    return Reply(schema.Health("ok" if set(checks.values()) <= {"ok"} else "degraded", checks))


OPERATIONS: Final = (
    Operation("GET", "/healthz", healthz, "Alive", answer=schema.Health, open=True),
    Operation(
        "GET",
        "/readyz",
        readyz,
        "Ready to charge: the stores answer, and all processes are up",
        answer=schema.Health,
        also=(503,),
        open=True,
    ),
)
