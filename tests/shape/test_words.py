"""No two classes have one name, no modules import each other in a circle, the waist names nothing of a protocol."""

import ast
import re
from collections import defaultdict

from protocol.diameter.dictionary import DICTIONARY
from tests.shape.source import PACKAGES, files, imports, text, tree

# Where every protocol meets: none of them has its words here (docs/architecture.md).
WAIST = [f"ocs/charging/{name}.py" for name in ("request", "decide", "handle", "answer", "nobody")]

# Two classes of one name, with the reason why no second word is better.
HOMONYMS: dict[str, str] = {}


def classes(*folders: str) -> dict[str, list[str]]:
    """The files that define each class of module level."""
    found = defaultdict[str, list[str]](list)
    for path in files(".py", *folders):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    return found


def test_no_two_classes_have_one_name() -> None:
    twice = {name: paths for name, paths in classes(*PACKAGES).items() if len(paths) > 1}
    unexplained = {name: paths for name, paths in twice.items() if name not in HOMONYMS}
    assert unexplained == {}, "call one of them by another word, or say in HOMONYMS why there is none"
    assert HOMONYMS.keys() <= twice.keys(), "a reason that nothing needs any more"


def test_no_test_names_a_class_like_one_of_the_product() -> None:
    product = classes(*PACKAGES)
    found = {name: paths for name, paths in classes("tests").items() if name in product}
    assert found == {}, "call the class of the test by another word"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also not for a type checker only: what a module names it knows. A Protocol says what it needs of its owner."""
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files(".py", *PACKAGES)
    }
    arrows = {
        module: {part for _, name in imports(path, for_types=True) for part in (name, name.rpartition(".")[0])}
        & modules.keys() - {module}
        for module, path in modules.items()
    }
    while leaves := {module for module, needs in arrows.items() if not needs}:
        arrows = {module: needs - leaves for module, needs in arrows.items() if module not in leaves}
    assert arrows == {}, "these import each other in a circle, or stand on those that do"


def test_the_waist_names_nothing_of_a_protocol() -> None:
    names = {avp.name for avp in DICTIONARY.known.values() if "-" in avp.name} | {"End-to-End-Id"}
    words = {path: set(re.findall(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+", text(path))) & names for path in WAIST}
    assert {path: found for path, found in words.items() if found} == {}
