"""The audit trail: what stands in it, and its proof (docs/audit.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocs.audit import chain, trail
from ocs.audit.chain import ChainProof
from ocs.audit.trail import AuditRow, WantedRows

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
