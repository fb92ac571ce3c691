"""Every script and every part of one has its twin: a Python file of its name, with functions of the names of its
functions.

What has no twin, or has it under another name, is listed here with the reason.
"""

from __future__ import annotations

import ast

import pytest

from tests.shape import lua
from tests.shape.source import ROOT, files, text, tree

FOLDER = "balances/lua/"
SCRIPTS = files(".lua", "balances")

ELSEWHERE = {
    "lib/amount": "tariffs/units.py",  # the arithmetic of prices
    "lib/ladder": "tariffs/climb.py",  # pricing climbs too, without balances
    "lib/facts": "balances/facts.py",  # workers and the ledger read facts too
    "lib/watched": "balances/watched.py",  # the back office opens accounts with thresholds, and shows where they stand
}
WITHOUT_TWIN = {
    "forget": "writes no record, and only where the stream has not moved; tests/balances/ledger/test_opening.py",
    "lib/steady": "is compared with the general text octet for octet; tests/balances/test_steady.py",
}
_REDIS = "writes to Redis"
_CLIMB = "climb.py is told in other parts; tests/tariffs/test_ladder.py is about both"
OTHERWISE = {
    "lib/account": {
        "open_change": "AccountChange()",
        "grow": "defaults of the struct",
        "is_older": "defaults of the struct",
        "is_cap": "a set in counter_values",
        "has_state": "the flags themselves",
        "pays_before": "the key of AccountChange.sort",
        "append": _REDIS,
        "append_packed": _REDIS,
        "look_by": "ModelStore.look_by",
        "urgency": "AccountChange.urgent",
    },
    "lib/amount": {"div": "floor division"},
    "lib/courses": {"fill_session": "defaults of the struct"},
    "lib/decision": {"decision_of": "ChargeDecision()"},
    "lib/funds": {
        "funds_of": "credit_of and AccountChange.funds",
        "pays": "AccountFunds.paying",
        "may_pay": "AccountFunds.paying, before it looks for a blocker",
        "blocker_of": "AccountFunds.paying",
        "funds_block": "AccountFunds.blocks",
        "funds_available": "AccountFunds.available",
        "funds_payers": "AccountFunds.payers",
        "price_held": "AccountChange.price_held",
        "funds_take": "AccountFunds.take",
        "funds_mark": "AccountFunds.mark",
        "funds_undo": "AccountFunds.undo",
        "funds_takes": "AccountFunds.takes",
        "open_funds": "AccountChange.funds",
    },
    "lib/granting": {"asking_line": "Asking()"},
    "lib/ladder": {
        "tier_of": "in tariffs/ladder.py",
        **dict.fromkeys(("most_of", "dues_of", "fed_with", "left_of", "room_of"), _CLIMB),
        **dict.fromkeys(("is_plain", "climb_plain"), "what climb comes to for one price"),
    },
    "lib/lines": {"position_of": "a copy of the line"},
    "lib/posting": {
        "read_posting": "begin_posting reads",
        "name_operation": "record_of",
        "name_post": "fields given to record_of",
    },
    "lib/refund": {"return_of": "of balances/structs/posting.py: the back office returns by it too"},
    "lib/sums": {
        **dict.fromkeys(
            ("round_sum", "largest_sum", "most_rounded", "largest_covered", "passes_a_tie"), "in tariffs/units.py"
        ),
        **dict.fromkeys(("entry_of", "sum_of"), "SessionSums.of"),
    },
    "lib/thresholds": {"named": "dicts in set_thresholds and set_services"},
    "lib/spans": {
        "price_at": "PriceSpan.at",
        "ladder_of": "unpack_ladder",
        "may_pay": "_in_scope, over all steps",
        "asks_counter": "a set in before_change",
    },
}


def name_of(path: str) -> str:
    return path.removeprefix(FOLDER).removesuffix(".lua")


def twin_of(name: str) -> str:
    return ELSEWHERE.get(name, f"balances/model/{name.removeprefix('lib/')}.py")


def functions_of(path: str) -> set[str]:
    found = (node.name for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef))
    return {name.lstrip("_") for name in found}


@pytest.mark.parametrize("path", SCRIPTS)
def test_it_has_a_twin_with_its_functions(path: str) -> None:
    name = name_of(path)
    if name in WITHOUT_TWIN:
        return
    assert (ROOT / twin_of(name)).exists(), f"{path} has no twin {twin_of(name)}"
    told = OTHERWISE.get(name, {})
    own = {function.split(".")[-1] for function in lua.functions(text(path))}
    there = functions_of(twin_of(name))
    assert own - there - set(told) == set(), f"{twin_of(name)} lacks functions of {path}"
    assert set(told) <= own - there, f"listed for {path}, and not needed"


def test_no_twin_stands_alone() -> None:
    names = {twin_of(name_of(path)) for path in SCRIPTS}
    alone = {"balances/model/__init__.py", "balances/model/store.py", "balances/model/kept.py"}
    assert set(files(".py", "balances/model")) - names - alone == set()
