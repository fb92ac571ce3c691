"""What `ocs tariff validate` prints: documents that are refused, findings of the linter, boundaries to test."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ocs.cli.output import rows, say
from ocs.cli.remote import RequestRefused
from ocs.clock import now_ms

if TYPE_CHECKING:
    from tariffs.tariff import Tariff

Checked = Sequence[tuple[str, "Tariff | str"]]
"""(file, what was read of it, or why it is refused)."""


def report(
    checked: Checked, services: Mapping[str, Collection[str]], *, with_boundaries: bool, as_json: bool, strict: bool
) -> None:
    """Print all findings. Raises RequestRefused where something is wrong: a document, an error, and with `strict` a
    warning.

    services:  those that are configured, with their grades
    """
    from ocs.cli.context_checks import twins
    from tariffs.phrases import counted

    same = dict(twins((file, found.name) for file, found in checked if not isinstance(found, str)))
    answers = [_answer(file, found, services, same.get(file), with_boundaries) for file, found in checked]
    if as_json:
        say(json.dumps({"files": answers}, indent=2, ensure_ascii=False))
    else:
        for answer in answers:
            _print(answer)
    refused = sum("refused" in answer for answer in answers)
    found = [finding["severity"] for answer in answers for finding in answer.get("findings", ())]
    errors, warnings = found.count("error"), found.count("warning")
    wrong = [f"{refused} of {len(answers)} refused"] if refused else []
    wrong += [counted(errors, "errors")] if errors else []
    wrong += [counted(warnings, "warnings")] if warnings and strict else []
    if wrong:
        raise RequestRefused(", ".join(wrong))


def _answer(
    file: str, found: Tariff | str, services: Mapping[str, Collection[str]], twin: str | None, with_boundaries: bool
) -> dict[str, Any]:
    from ocs.cli.context_checks import misfits
    from tariffs.lint.boundaries import boundaries
    from tariffs.lint.case import LintFinding
    from tariffs.lint.linter import lint, worst_first

    if isinstance(found, str):
        return {"file": file, "refused": found}
    at_ms = found.from_ms or now_ms()  # what was always valid is looked at from today on
    here = [LintFinding("warning", "same-id", "tariff", twin)] if twin else []
    findings = worst_first([*here, *misfits(found, services), *lint(found, at_ms)])
    answer = {
        "file": file,
        "tariff": found.name,
        "currency": found.currency,
        "rows": len(found.rows),
        "findings": msgspec.to_builtins(findings),
    }
    if with_boundaries:
        answer["boundaries"] = msgspec.to_builtins(boundaries(found, at_ms))
    return answer


def _print(answer: dict[str, Any]) -> None:
    from tariffs.phrases import counted

    if "refused" in answer:
        say(answer["refused"], err=True)
        return
    say(f"{answer['file']}: {answer['tariff']}, {answer['currency']}, {counted(answer['rows'], 'rows')}")
    for one in answer["findings"]:
        say(f"{answer['file']}: {one['where']}: {one['severity']} {one['rule']}: {one['text']}")
    if "boundaries" in answer:
        columns = ("when", "line", "what", "units", "unit", "price", "tag")
        lines = [tuple(one[column] for column in columns) for one in answer["boundaries"]]
        rows(f"boundaries of {answer['tariff']}, {answer['currency']}", columns, lines, right=("units", "price"))
