"""The back office says no in its own words, one table makes problems of HTTP of them, and a skin asks no store."""

import ast
import re

from ocs.api.problems import PROBLEMS
from ocs.backoffice import errors
from ocs.backoffice.errors import BackOfficeError
from tests.shape.source import files, text, tree


def test_each_error_has_one_row_and_each_row_one_error() -> None:
    made = [row.error for row in PROBLEMS.values() if row.error is not None]
    assert len(made) == len(set(made))
    assert set(made) == {
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, BackOfficeError) and one is not BackOfficeError
    }


def test_a_problem_is_raised_only_for_what_the_back_office_knows_nothing_of() -> None:
    """What it has an error for is raised as that, so that the table alone maps it."""
    raised = {
        (path, argument.value)
        for path in files(".py", "ocs")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
        for argument in node.args[:1]
        if isinstance(argument, ast.Constant)
    }
    assert {(path, kind) for path, kind in raised if PROBLEMS[str(kind)].error is not None} == set()
    assert "malformed" in {kind for _, kind in raised}, "this looks in vain"


def test_no_route_asks_a_store_itself() -> None:
    asks = re.compile(r"backoffice\.(pool|redis|store|projector)\b")
    assert [path for path in files(".py", "ocs/api") if asks.search(text(path))] == []
    assert any(asks.search(text(path)) for path in files(".py", "ocs/backoffice")), "this looks in vain"
