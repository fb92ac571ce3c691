"""Readers of a tariff (linter, explanations) use the methods of its elements and none of their classes."""

from tests.shape.source import PACKAGES, files, imports

ASKED = {"tariffs.elements.element", "tariffs.elements.known"}


def test_only_the_list_of_elements_names_their_classes() -> None:
    modules = {path.removesuffix(".py").replace("/", ".") for path in files(".py", "tariffs/elements")} - ASKED
    named = {
        (path, module)
        for path in files(".py", *PACKAGES)
        if not path.startswith("tariffs/elements/")
        for _, name in imports(path)
        for module in modules
        if name == module or name.startswith(f"{module}.")
    }
    assert named == set()
    assert "tariffs.elements.flat" in modules, "this looks in vain"
