"""Money is whole numbers: no float and no `/` in tariffs and balances.

Waiting is not money: a float may stand in the arguments of a timer, and in a name or keyword that ends in `_s`. A `/`
before a string literal joins a path.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.shape.source import files, tree

TIMERS = {"sleep", "timeout", "timeout_at", "wait", "wait_for", "call_later", "call_at"}


@pytest.mark.parametrize("path", files(".py", "tariffs", "balances"))
def test_no_float_and_no_division(path: str) -> None:
    assert [f"{path}:{line} {what}" for line, what in fractions(tree(path))] == []


def fractions(module: ast.Module) -> Iterator[tuple[int, str]]:
    waiting = {inner for node in ast.walk(module) for root in waits(node) for inner in ast.walk(root)}
    for node in ast.walk(module):
        if node in waiting:
            continue
        match node:
            case ast.Constant(value=float() | complex()):
                yield node.lineno, f"float {node.value!r}"
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str()) | ast.JoinedStr()):
                pass
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node.lineno, "division"
            case ast.Call(func=ast.Name(id="float" | "round")):
                yield node.lineno, ast.unparse(node)


def waits(node: ast.AST) -> list[ast.expr]:
    """The expressions below this node that are seconds to wait."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in TIMERS:
            return [*node.args, *(keyword.value for keyword in node.keywords)]
        case ast.keyword(arg=str(name)) if name.lower().endswith("_s"):
            return [node.value]
        case ast.Assign(targets=[ast.Name(id=name)]) if name.lower().endswith("_s"):
            return [node.value]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name.lower().endswith("_s"):
            return [value]
        case ast.arguments():
            named = [*node.posonlyargs, *node.args]
            pairs = [*zip(reversed(named), reversed(node.defaults), strict=False)]
            pairs += [(arg, value) for arg, value in zip(node.kwonlyargs, node.kw_defaults, strict=True) if value]
            return [value for arg, value in pairs if arg.arg.endswith("_s")]
        case _:
            return []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("x = 0.5", 1),
        ("x = a / b", 1),
        ("x /= 2", 1),
        ("x = round(a)", 1),
        ("x = float('1')", 1),
        ("p = folder / 'a.lua'", 0),
        ("p = folder / f'{name}.lua'", 0),
        ("p = folder / name", 1),
        ("await sleep(0.5)", 0),
        ("await asyncio.sleep(wait_ms / 1000)", 0),
        ("WAIT_S = 0.5", 0),
        ("def f(price=0.5, *, wait_s: float = 0.5): ...", 1),
        ("connect(timeout_s=1.5, price=1.5)", 1),
    ],
)
def test_the_rule_itself(code: str, found: int) -> None:
    assert len([*fractions(ast.parse(code))]) == found
