"""`ocs trace`: what it says before anything is seen."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ocs.cli.trace import _watch


class SilentServer:
    """Nothing is seen there, and the stream ends."""

    async def follow(self, *_: str, **__: Any) -> AsyncIterator[str]:
        for nothing in list[str]():
            yield nothing


@pytest.mark.parametrize(("known", "says"), [(False, True), (True, False), (None, False)])
async def test_that_nobody_is_known_is_said(known: bool | None, says: bool, capsys: pytest.CaptureFixture[str]) -> None:
    begun = {"id": "t1", "identities": ["msisdn:491709999999"], "subscriber": "+49 170 9999999", "known": known}
    server: Any = SilentServer()
    await _watch(server, begun, None, False, None, False, quiet=False)
    err = " ".join(capsys.readouterr().err.split())
    assert "trace t1 is watching" in err
    assert ("nobody is known by +49 170 9999999: what comes for it is shown, and why it is refused" in err) == says
