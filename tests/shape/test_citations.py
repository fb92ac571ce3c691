"""What the code cites of docs/ is there: a section of charging.md, a rule of durability.md, a document, a file."""

import re

import pytest

from tests.shape.source import PACKAGES, ROOT, files

DOCS = ROOT / "docs"
SECTIONS = set(re.findall(r"^## (\d+)\. ", (DOCS / "charging.md").read_text(), re.M))
RULES = set(re.findall(r"^(\d+)\. ", (DOCS / "durability.md").read_text(), re.M))
CITING = sorted(
    {path for ending in (".py", ".lua", ".sql", ".md", ".toml") for path in files(ending, *PACKAGES, "tests", "deploy")}
)
CITED = re.compile(
    r"(charging|durability)\.md,? (?:sections? |rules? |rule )?(\d+)((?:(?:, | and | to )\d+(?!\d|:| \w))*)"
)


def test_the_documents_have_numbers() -> None:
    assert {str(number) for number in range(1, len(SECTIONS) + 1)} == SECTIONS
    assert {str(number) for number in range(1, len(RULES) + 1)} == RULES


@pytest.mark.parametrize("path", CITING)
def test_what_is_cited_exists(path: str) -> None:
    text = re.sub(r"\s*\n\s*(?:#|--|\*|//)?\s*", " ", (ROOT / path).read_text(encoding="utf-8"))
    for document, first, more in CITED.findall(text):
        known = SECTIONS if document == "charging" else RULES
        for number in [first, *re.findall(r"\d+", more)]:
            assert number in known, f"{path} cites {document}.md {number}"


@pytest.mark.parametrize("path", [path for path in CITING if path != "tests/shape/test_citations.py"])
def test_no_document_is_cited_that_is_not_here(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    gone = re.findall(
        r"nothing-is-lost\.md|house\.md|stack\.md|contract\.md|credit-control\.md|ro-gy-rf\.md|shared/", text
    )
    assert not gone, f"{path} cites {gone[0]}"


def test_every_document_is_listed() -> None:
    listed = (DOCS / "README.md").read_text()
    assert [path.name for path in DOCS.glob("*.md") if path.name != "README.md" and path.name not in listed] == []


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")))
def test_links_and_paths_lead_somewhere(path: object) -> None:
    text = (DOCS / str(path)).read_text() if isinstance(path, str) else path.read_text()  # type: ignore[attr-defined]
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert (DOCS / link).exists(), link
    for named in re.findall(r"`((?:ocs|balances|tariffs|protocol|loadtest|tests)/[\w/.]+\.\w+)`", text):
        assert (ROOT / named).exists(), named
