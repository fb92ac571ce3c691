"""Differences that a re-rating found: signed entries, each of one usage record, never a second charge."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_accounts import order_of, posted
from ocs.api.texts import MoneyNotZero
from ocs.backoffice import postings
from ocs.backoffice.amounts import micro_of
from ocs.patterns import looks

RATE: Final = r"rate=[0-9]{1,12}(\.[0-9]{1,12})?"
TAX: Final = "tax=[0-9]{1,7}(;tax_to=[1-9][0-9]{0,15}/(up|down|half_up|half_even))?"
TAG: Final = r"tag\.[a-z][a-z0-9_-]{0,31}=[A-Za-z0-9_.~%-]{1,768}"
TERMS: Final = rf"(({TAX}|{RATE}|{TAX};{RATE}|{TAG})(;{TAG}){{0,16}})?"
"""Checked strictly: the writer of the ledger could not store another, and would stand."""

Terms = Annotated[
    str,
    looks(
        TERMS,
        '"tax=190000", "rate=0.9231", both with a ";" between them, "tag.KEY=TEXT" after these, or ""',
        description="Tax in parts per million of the net amount, exchange rate, tags: as on the usage record",
        examples=["tax=190000"],
    ),
]


class CorrectionBody(schema.TaggedInput, frozen=True):
    amount: MoneyNotZero
    """Above zero is given back to the main balance, below zero is taken from it, also where that makes debt."""
    reason: schema.Reason
    reference: Annotated[str, looks(r"[^\x00-\x1f]+", schema.ONE_LINE, min_length=1, max_length=255)]
    """The usage record: `usage <epoch>-<n>/<line>`."""
    original_seq: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """Ledger entry that it corrects; 0: the usage cost nothing, so there is none."""
    terms: Terms = ""


async def correct(call: ApiCall) -> ApiReply:
    body: CorrectionBody = call.body
    done = await postings.correct(
        call.backoffice,
        call.path["id"],
        micro_of(body.amount, "amount"),
        order_of(call, body.reason, body.reference),
        original_seq=body.original_seq,
        terms=body.terms,
    )
    return posted(call, *done)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/accounts/{id}/corrections",
        correct,
        "Correct what a usage record has cost",
        "accounts.correct",
        answer=schema.PostingView,
        status=201,
        body=CorrectionBody,
        keyed=True,
        problems=("key-required", "key-reused", "not-found", "unresolved", "no-room", "fate-unknown"),
        description="What `ocs tariff rerate --apply` posts: the difference between what was charged and what should"
        " have been, as an entry `rerate` against revenue, with the tax of the usage record.",
    ),
)
