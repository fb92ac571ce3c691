"""Imports: many accounts and subscribers at a time, from a file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ocs.backoffice.accounts import restore
from ocs.master.bulk import Import

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


def begun(backoffice: BackOffice, actor: str, *, vouchers: bool) -> Import:
    """An import: `run` takes batches of lines in, `check` only looks. vouchers: its caller may bring some in"""
    return Import(
        backoffice.pool,
        backoffice.redis,
        backoffice.store,
        backoffice.projector,
        backoffice.now_ms,
        restore=partial(restore, backoffice),
        scopes=backoffice.scopes,
        refused=backoffice.refused,
        tags=backoffice.tags,
        voucher_keys=(lambda: backoffice.vouchers.keys) if vouchers else None,
        actor=actor,
        passwords=backoffice.passwords,
    )
