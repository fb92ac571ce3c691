"""The index of paths finds what starlette finds, or leaves it to starlette."""

from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Match, Route

from ocs.api.path_index import PathIndex
from ocs.api.server import OPERATIONS


async def nobody(_request: object) -> None: ...


ROUTES = [(one, Route(one.path, nobody, methods=[one.method])) for one in OPERATIONS]
INDEX = PathIndex((one.method, one.path, one) for one in OPERATIONS)
SEGMENTS = sorted({segment for one in OPERATIONS for segment in one.path.split("/") if "{" not in segment})
VALUE = st.sampled_from([*SEGMENTS, "a1", "x:y", "", "a b", "{id}", "ä"])


def by_starlette(method: str, path: str) -> object:
    scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
    for one, route in ROUTES:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return one, child["path_params"]
    return None


@st.composite
def paths(draw: st.DrawFn) -> str:
    """Like one of ours, with some segments of others."""
    segments = draw(st.sampled_from(OPERATIONS)).path.split("/")
    return "/".join(draw(VALUE) if "{" in one or draw(st.integers(0, 9)) == 0 else one for one in segments)


@given(st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE"]), paths())
def test_it_finds_what_starlette_finds(method: str, path: str) -> None:
    found = INDEX.find(method, path)
    assert found is None or (found.handler, found.values) == by_starlette(method, path)


def test_charging_is_found_at_once() -> None:
    for one in OPERATIONS:
        if one.path.startswith("/v1/charging/"):
            found = INDEX.find(one.method, one.path.replace("{id}", "s1"))
            assert found is not None
            assert found.handler is one
