"""An import as it arrives: octets to lines, lines to batches. No more than one batch and one line is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from ocs.api.import_csv import CsvHeader
from ocs.api.import_line import from_json, from_members
from ocs.backoffice.errors import Invalid
from ocs.master.brought_vouchers import Brought
from ocs.master.bulk import FileLine
from ocs.master.bulk_rows import Objection, WantedLine

LINE_BYTES_MAX: Final = 1 << 20
BATCH_LINES: Final = 2_000
BATCH_BYTES: Final = 4 << 20
DRAIN_S: Final = 2.0
BREATH_LINES: Final = 100
"""Others are served after so many."""

CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"

Read = Callable[[bytes], WantedLine | Brought]


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    """Each line without its end; None for one that is longer than LINE_BYTES_MAX, which is passed over."""
    rest, passed_over = b"", False
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            too_long, passed_over = passed_over or len(line) > LINE_BYTES_MAX, False
            yield None if too_long else line.removesuffix(b"\r")
        if len(rest) > LINE_BYTES_MAX:
            rest, passed_over = b"", True
    if rest or passed_over:
        yield None if passed_over else rest.removesuffix(b"\r")


class ImportFile:
    """The lines of one import. `begin` reads the header where there is one; raises Invalid where that is wrong."""

    def __init__(self, pieces: AsyncIterator[bytes], media_type: str, actor: str) -> None:
        self._lines = lines_of(pieces)
        self._number = 0
        self._is_csv = media_type == CSV
        self._actor = actor
        self._read: Read = lambda line: from_json(line, actor)

    async def begin(self) -> None:
        if not self._is_csv:
            return
        self._number = 1
        first = await anext(self._lines, b"")
        try:
            header = CsvHeader((first or b"").decode())
        except UnicodeDecodeError as why:
            raise Invalid("the header", f"not UTF-8: {why}") from None
        self._read = lambda line: from_members(header.members(line.decode()), self._actor)

    async def drain(self) -> None:
        """Read what still comes, for a moment: a connection that is closed while its sender still sends is reset, and
        then the sender never reads the answer."""
        with contextlib.suppress(Exception):  # whatever ends it, the answer stands already
            async with asyncio.timeout(DRAIN_S):
                async for _ in self._lines:
                    pass

    async def batches(self) -> AsyncIterator[list[FileLine]]:
        """Lines in batches. Empty lines count for the line number and are skipped."""
        batch: list[FileLine] = []
        octets = 0
        async for line in self._lines:
            self._number += 1
            if line is None or line.strip():
                batch.append(FileLine(self._number, self._wanted(line)))
                octets += len(line or b"")
            if self._number % BREATH_LINES == 0:
                await asyncio.sleep(0)
            if len(batch) >= BATCH_LINES or octets >= BATCH_BYTES:
                yield batch
                batch, octets = [], 0
        if batch:
            yield batch

    def _wanted(self, line: bytes | None) -> WantedLine | Brought | Objection:
        if line is None:
            return Objection("too-large", "", f"a line has at most {LINE_BYTES_MAX} octets")
        try:
            return self._read(line)
        except Objection as why:
            return why
        except UnicodeDecodeError as why:
            return Objection("malformed", "", f"not UTF-8: {why.reason} at octet {why.start}")
