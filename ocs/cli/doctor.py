"""`ocs doctor`"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocs.cli.given import PATH
from ocs.cli.output import json_option, say
from ocs.cli.serve import configured

if TYPE_CHECKING:
    from ocs.doctor.finding import DoctorFinding, Examined

FAILED = {2: 2, 1: 1}
"""Exit code by the worst severity; notes are no failure."""


@click.command()
@click.option("--config", type=PATH, help="TOML file (ocs.toml, if it is there).")
@click.option("--data", type=PATH, help="Where everything is kept (ocs-data).")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One key: http.listen=off")
@click.option("--no-probe", is_flag=True, help="Do not measure the disk, which writes a little.")
@json_option
def doctor(config: Path | None, data: Path | None, settings: tuple[str, ...], no_probe: bool, as_json: bool) -> None:
    """What is wrong with this host, its stores and its peers; what it means, and what to do.

    It looks at the machine and the stores itself, so it also helps while the server is down. Exit code 2: something
    does not serve or may lose money; 1: something should be looked at; 0: nothing.
    """
    from ocs.doctor.examine import examine
    from ocs.doctor.finding import worst_first

    found = asyncio.run(examine(configured(config, data, False, settings), probe=not no_probe))
    findings = worst_first(found)
    if as_json:
        say(json.dumps(_answer(found, findings), indent=2, ensure_ascii=False))
    else:
        _print(found, findings)
    click.get_current_context().exit(FAILED.get(max((int(one.severity) for _, one in findings), default=0), 0))


def _answer(found: Sequence[Examined], findings: Sequence[tuple[str, DoctorFinding]]) -> dict[str, object]:
    return {
        "findings": [
            {
                "severity": one.severity.word,
                "about": about,
                "what": one.what,
                "means": one.means,
                "do": one.do,
                "runbook": one.runbook or None,
            }
            for about, one in findings
        ],
        "examined": {one.name: one.facts for one in found},
    }


def _print(found: Sequence[Examined], findings: Sequence[tuple[str, DoctorFinding]]) -> None:
    for about, one in findings:
        say(f"{one.severity.word}: {about}: {one.what}")
        say(f"  means: {one.means}")
        for number, line in enumerate(one.do.split("\n")):
            say(f"  {'do:    ' if not number else '         '}{line}")
        if one.runbook:
            say(f"  more:  docs/runbook.md, {one.runbook}")
    if findings:
        say("")
    for examined in found:
        say(f"{examined.name}: {', '.join(examined.facts) or 'nothing to say'}")
    if not findings:
        say("nothing is wrong")
