"""What the rules look at: the files of this checkout, by glob, so that a file is under the rules from its first day."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "tariffs", "balances", "ocs", "loadtest")


def files(suffix: str, *folders: str) -> list[str]:
    """Paths relative to the checkout, with forward slashes, sorted."""
    found = (path for folder in folders for path in (ROOT / folder).rglob(f"*{suffix}"))
    return sorted(path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts)


@cache
def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree(path: str) -> ast.Module:
    return ast.parse(text(path), path)


def covered(path: str, places: set[str]) -> bool:
    """A place is a file, or a folder when it ends in a slash."""
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def imports(path: str, *, for_types: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported at run time, wherever in the file the import stands; for_types: also
    what only a type checker imports."""
    skipped = set[ast.AST]()
    for node in ast.walk(tree(path)):
        if not for_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
