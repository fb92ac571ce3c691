"""Actions as TMF654 gives them, from entries of the ledger and from transfers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from balances.ledger.in_words import time_of
from balances.ledger.transfers import TransferState
from balances.structs.account import MAIN
from ocs.tmf654.resources import TmfAdjustBalance, TmfQuantity, TmfRef, TmfTopupBalance, TmfTransferBalance
from ocs.tmf654.words import BASE, ActionStatus, NamedBucket, number_of, units_of, usage_of
from tariffs.units import Kind

Row = Mapping[str, Any]
"""By the columns of ledger_entries, or of transfers."""


def _quantity(row: Row, amount: int) -> TmfQuantity:
    return TmfQuantity(number_of(row["kind"], amount), units_of(row["kind"], row["currency"]))


def bucket_ref(name: NamedBucket) -> TmfRef:
    return TmfRef(name.id, f"{BASE}/bucket/{name.id}", referred_type="Bucket")


def of_entry(row: Row, path: str) -> dict[str, Any]:
    """What every action says that is an entry of the ledger, which does not know what a bucket of units is for."""
    id_, when = f"{row['account']}:{row['seq']}", time_of(row["at_ms"])
    return {
        "id": id_,
        "href": f"{BASE}/{path}/{id_}",
        "status": "completed",
        "amount": _quantity(row, row["amount"]),
        "bucket": bucket_ref(NamedBucket(row["account"], row["bucket"])),
        "usage_type": usage_of(row["kind"]),
        "description": row["reference"] or None,
        "reason": row["reason"] or None,
        "requested_date": when,
        "confirmation_date": when,
        "requestor": TmfRef(row["actor"], role="requestor", referred_type="Individual") if row["actor"] else None,
        "party_account": TmfRef(row["account"], referred_type="PartyAccount"),
    }


def top_up_action(row: Row) -> TmfTopupBalance:
    return TmfTopupBalance(**of_entry(row, "topupBalance"), type="TopupBalance")


def adjustment_action(row: Row) -> TmfAdjustBalance:
    return TmfAdjustBalance(**of_entry(row, "adjustBalance"), adjust_type="oneTime", type="AdjustBalance")


def move_action(row: Row, receiver: int | None) -> TmfTransferBalance:
    """Between two buckets of one account: of the entry that takes. receiver: number of the bucket that gets it"""
    said = of_entry(row, "transferBalance")
    return TmfTransferBalance(
        **said | {"amount": _quantity(row, abs(row["amount"]))},
        receiver_bucket=bucket_ref(NamedBucket(row["account"], receiver)),
        receiver_bucket_usage_type=said["usage_type"],
        type="TransferBalance",
    )


STATUS: Final[dict[TransferState, ActionStatus]] = {
    TransferState.ORDERED: "created",
    TransferState.SENT: "created",
    TransferState.REFUSED: "created",
    TransferState.RECEIVED: "completed",
    TransferState.RETURNED: "failed",
}


def transfer_action(row: Row) -> TmfTransferBalance:
    """Money, as the table of transfers has it, where the row has no `kind`."""
    kind = row.get("kind", Kind.MONEY)
    return TmfTransferBalance(
        id=row["id"],
        href=f"{BASE}/transferBalance/{row['id']}",
        status=STATUS[TransferState(row["state"])],
        amount=TmfQuantity(number_of(kind, row["amount"]), units_of(kind, row["currency"])),
        bucket=bucket_ref(NamedBucket(row["source"], MAIN)),
        usage_type=usage_of(kind),
        description=row["reference"] or None,
        reason=row["reason"] or None,
        requested_date=time_of(row["sent_ms"]) if row["sent_ms"] else None,
        confirmation_date=time_of(row["ended_ms"]) if row["ended_ms"] else None,
        requestor=TmfRef(row["actor"], role="requestor", referred_type="Individual"),
        party_account=TmfRef(row["source"], referred_type="PartyAccount"),
        receiver_bucket=bucket_ref(NamedBucket(row["target"], MAIN)),
        receiver_bucket_usage_type=usage_of(kind),
        type="TransferBalance",
    )
