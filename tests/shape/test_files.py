"""Names and places of files."""

import ast

import pytest

from tests.shape.source import PACKAGES, ROOT, files, text, tree

# The only __init__ files with something in them: explicit lists of dictionaries.
INIT_WITH_CONTENT = {"protocol/diameter/dictionary/__init__.py", "protocol/radius/dictionary/__init__.py"}

SAYS_NOTHING = {
    "utils",
    "util",
    "common",
    "helpers",
    "helper",
    "constants",
    "consts",
    "manager",
    "misc",
    "shared",
    "base_types",
}

READMES = ["README.md", "protocol/README.md", "tariffs/README.md", "balances/README.md"]

CODE = [path for suffix in (".py", ".lua") for path in files(suffix, *PACKAGES, "tests")]


@pytest.mark.parametrize("path", CODE)
def test_the_name_says_what_is_inside(path: str) -> None:
    parts = [part.removesuffix(".py").removesuffix(".lua") for part in path.split("/")]
    assert not SAYS_NOTHING & set(parts), path


@pytest.mark.parametrize("path", [path for path in CODE if path.endswith("__init__.py")])
def test_init_is_empty(path: str) -> None:
    if path not in INIT_WITH_CONTENT:
        assert text(path).strip() == "", f"{path}: import from where things are"


@pytest.mark.parametrize("path", [path for path in files(".py", *PACKAGES) if not path.endswith("__init__.py")])
def test_a_module_says_what_it_is_for(path: str) -> None:
    assert ast.get_docstring(tree(path)), f"{path} has no docstring"


@pytest.mark.parametrize("readme", READMES)
def test_a_package_with_code_explains_itself(readme: str) -> None:
    folder = readme.rpartition("/")[0]
    has_code = not folder or any(text(path).strip() for path in files(".py", folder))
    assert (ROOT / readme).exists() or not has_code, f"{readme} is missing"


def test_every_folder_of_python_is_a_package() -> None:
    folders = {path.rpartition("/")[0] for path in files(".py", *PACKAGES)}
    assert [folder for folder in sorted(folders) if not (ROOT / folder / "__init__.py").exists()] == []
