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
    well = all(state == "ok" for state in checks.values())
    return Reply(schema.Health("ok" if well else "unavailable", checks), 200 if well else 503)


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
