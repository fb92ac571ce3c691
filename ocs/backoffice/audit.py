"""The audit trail: what stands in it, and its proof (docs/audit.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ocs.audit import chain, trail
from ocs.audit.chain import ChainProof
from ocs.audit.trail import AuditedRequest, AuditRow, WantedRows
from ocs.backoffice.backoffice import trouble_of
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


async def page(backoffice: BackOffice, wanted: WantedRows) -> Sequence[AuditRow]:
    return await trail.page(backoffice.pool, wanted)


async def verify(backoffice: BackOffice) -> ChainProof:
    """Take up what is new, then compute every hash again."""
    async with backoffice.alone():
        while await chain.go_on(backoffice.pool.patient):
            pass
        return await chain.verify(backoffice.pool.patient)


async def conclude(backoffice: BackOffice, one: AuditedRequest, status: int, answer: Any) -> None:
    """It was done, or refused, whether this can be written now or not: else the keeper writes it, from the ledger."""
    if not one.intended:
        return
    try:
        await trail.conclude(backoffice.pool, one, status, answer)
    except Exception as why:
        if trouble_of(why) is None:
            raise
        logger().warning("audit.later", request=one.request, why=repr(why))
