"""Everything /openapi.json allows, and much it does not, sent to a server that listens: never a 5xx, always an answer
of the shape it promised."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ocs.api.auth import Callers
from ocs.api.server import application, serving
from ocs.config import Http
from tests.ocs.api_harness import TOKEN, ApiHarness, api_harness
from tests.servers import Servers

EXAMPLES = 15
ANSWER_S = 120
"""Generous: the proof of the ledger walks everything, beside other tests on the same cores."""
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


@pytest.fixture
def address(servers: Servers) -> Iterator[str]:
    """A server in a thread of its own: the tests of this file are not async, as schemathesis wants it."""
    up, stop = threading.Event(), asyncio.Event()
    where: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with api_harness(servers) as harness:
            await fill(harness)
            app = application(harness.backoffice, Callers({TOKEN: "admin"}), Http())
            copying = asyncio.ensure_future(copy(harness))  # or the proof of the ledger waits for it
            with socket.create_server(("127.0.0.1", 0)) as listener:
                async with serving(app, listener):
                    where.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
                    up.set()
                    await stop.wait()
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(10)
    yield where[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


async def copy(harness: ApiHarness) -> None:
    while True:
        await harness.sync()
        await asyncio.sleep(0.05)


async def fill(harness: ApiHarness) -> None:
    """So that some of what is asked for is there."""
    await harness.tariff()
    for name in ("0", "A", "a1"):
        await harness.account(name)
        await harness.subscriber(name, name, f"username:{name}")


def test_no_request_is_a_surprise(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    seen = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        seen += 1
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: schemathesis.Case[Any]) -> None:
                answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=ANSWER_S)
                case.validate_response(answer, checks=list(CHECKS))

            with contextlib.suppress(Unsatisfiable):  # /healthz cannot be asked wrongly
                send()
    assert seen >= 18
