"""What a worker makes of the hash `catalog`, also when it is of a newer version of ours, or of an older one."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ocs.master.catalog import Compiled, Unpacked, unpack_catalog
from ocs.master.documents import DocumentVersion

GOOD = """
tariff = "{id}"
currency = "EUR"
{more}
[[rows]]
flat = {{ price = "{price}", per = "1 unit" }}
"""


def document(
    id_: str, version: int, price: str = "1", valid_from_ms: int = 0, more: str = "", file: int = 0
) -> DocumentVersion:
    text = GOOD.format(id=id_, price=price, more=more).encode()
    pins = {"world.csv": file} if file else {}
    return DocumentVersion(id_, version, "application/toml", text, version, valid_from_ms, pins)


def unpack(*documents: DocumentVersion, files: Any = (), before: Mapping[tuple[str, int], Compiled] = {}) -> Unpacked:
    packed = [msgspec.msgpack.encode(one) for one in (documents, files, ())]
    return unpack_catalog(7, packed, before)


def served(unpacked: Unpacked, id_: str) -> list[int]:
    return [tariff.version for tariff in unpacked.catalog.tariffs.get(id_, ())]


def test_one_that_is_not_understood_leaves_the_others_alone() -> None:
    unpacked = unpack(document("a", 1), document("b", 1, more="telepathy = true"), document("c", 1))
    assert [served(unpacked, id_) for id_ in "abc"] == [[1], [], [1]]
    assert len(unpacked.troubles) == 1
    assert unpacked.troubles[0].startswith("b@1: ")
    assert "telepathy" in unpacked.troubles[0]


def test_what_it_would_replace_serves_on() -> None:
    before = unpack(document("a", 1), document("a", 2, valid_from_ms=50))
    after = unpack(document("a", 1), document("a", 3, price="?", valid_from_ms=50), before=before.compiled)
    assert sorted(served(after, "a")) == [1, 2]
    again = unpack(document("a", 1), document("a", 4, valid_from_ms=50), before=after.compiled)
    assert sorted(served(again, "a")) == [1, 4]


def test_not_what_another_one_has_replaced() -> None:
    before = unpack(document("a", 1), document("a", 2, valid_from_ms=50))
    after = unpack(document("a", 3), document("a", 4, price="?", valid_from_ms=99), before=before.compiled)
    assert served(after, "a") == [3]


def test_a_version_is_compiled_once() -> None:
    before = unpack(document("a", 1), document("a", 2, "2"))
    after = unpack(
        document("a", 1), document("a", 2, "3"), before=before.compiled
    )  # a backup was restored, and went on
    assert after.compiled["a", 1] is before.compiled["a", 1]
    assert after.compiled["a", 2] is not before.compiled["a", 2]


def test_a_file_that_is_missing_is_said() -> None:
    tables = '[tables]\nworld = "world.csv"'
    wanted = document("a", 1, more=tables, file=2)
    assert "world.csv" in unpack(wanted).troubles[0]
    there = unpack(wanted, files=[("world.csv", 1, b"prefix"), ("world.csv", 2, b"prefix,zone\n49,Germany\n")])
    assert there.troubles == []
    assert len(there.catalog.tariffs["a"][0].parts.tables["world"]) == 1


def test_what_an_older_version_wrote() -> None:
    text = GOOD.format(id="a", price="1", more="").encode()
    documents = msgspec.msgpack.encode([["a", 1, "application/toml", text, 0]])
    assert served(unpack_catalog(7, [documents, None, None]), "a") == [1]
