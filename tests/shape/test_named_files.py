"""Documents name files that are there."""

import re

import pytest

from tests.shape.source import ROOT, files

FILE = re.compile(r"`([\w./*<>{},-]+\.(?:py|lua|sql|toml))(?:::\w+)?`")
EXAMPLES = {"ocs.toml", "tariff.toml", "home.toml"}  # names that users give
DOCUMENTS = [path for path in files(".md", ".") if not path.startswith((".", "CHANGELOG")) and "/." not in path]


def there(name: str, folder: str) -> bool:
    """Beside the document, below it, or from the root of the checkout."""
    if name in EXAMPLES or set(name) & set("*<>{"):
        return True
    below = ROOT / folder
    return (ROOT / name).exists() or (below / name).exists() or any(below.rglob(name))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_file_that_a_document_names_is_there(document: str) -> None:
    folder = document.rpartition("/")[0]
    named = FILE.findall((ROOT / document).read_text(encoding="utf-8"))
    assert [name for name in named if not there(name, folder)] == []
