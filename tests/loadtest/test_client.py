"""The client alone: what it keeps, what it sends again, and that a drill can ask it."""

import asyncio
import time

import pytest

from loadtest.answers import LoadAnswer
from loadtest.client import LoadClient
from loadtest.link import Request, Target
from loadtest.scenario import load
from loadtest.subscriber import LoadSession, Role, subscriber
from loadtest.templates import ids, session_id, stamp
from tests.loadtest.fake import Fake

SCENARIO = load("data", subscribers=1)


class Drill:
    """One session by hand, as the kill -9 drills drive many."""

    def __init__(self, client: LoadClient) -> None:
        self.client, self.link = client, client.links[0]
        role = Role(SCENARIO, SCENARIO.plays[0], host=self.link.origin, realm="example.net", destination="example.net")
        name = session_id(self.link.origin, client.started, client.next_session())
        self.session = LoadSession(role, subscriber(0), name.encode(), updates=5)

    def send(self) -> "asyncio.Future[LoadAnswer]":
        return self.client.ask(self.link, self.session)


async def ready(fake: Fake) -> None:
    from loadtest.api import Api
    from loadtest.provision import Provision

    async with Api(f"http://127.0.0.1:{fake.http_port}", "secret") as api:
        await Provision(api, SCENARIO).run()


async def test_a_session_by_hand(fake: Fake) -> None:
    await ready(fake)
    client = LoadClient(Target("127.0.0.1", fake.diameter_port), record=True)
    await client.start()
    drill = Drill(client)
    assert (await drill.send()).lines[0].granted == 4_194_304
    drill.session.used = [3_000_000]
    await drill.send()
    drill.session.used = [200_000]
    drill.session.finish()
    assert (await drill.send()).result == 2001
    assert drill.session.phase is None
    assert drill.session.totals == [3_200_000]
    assert fake.charges == 2  # the last 200,000 were in a block paid already... of four
    assert client.answered is not None
    assert [request.answer.number for request in client.answered if request.answer] == [0, 1, 2]
    assert not client.unanswered
    await client.stop()


async def test_what_is_unanswered_goes_out_again_after_a_cut(fake: Fake) -> None:
    await ready(fake)
    client = LoadClient(Target("127.0.0.1", fake.diameter_port), timeout_s=60)
    await client.start()
    drill = Drill(client)
    await drill.send()
    fake.drop_once = {2}
    drill.session.used = [1]
    waiting = drill.send()
    await asyncio.sleep(0.05)
    assert len(client.unanswered) == 1
    client.cut()
    assert (await asyncio.wait_for(waiting, 30)).result == 2001
    assert fake.repeats == 1
    assert fake.charges == 1
    assert client.counts.lost_connections == 1
    await client.stop()


async def test_a_server_that_stops_is_told(fake: Fake) -> None:
    await ready(fake)
    client = LoadClient(Target("127.0.0.1", fake.diameter_port))
    await client.start()
    fake.leave()
    async with asyncio.timeout(10):
        while not client.counts.ended_connections:
            await asyncio.sleep(0.01)
    assert client.counts.lost_connections == 0
    await client.stop()


async def test_a_server_that_says_nothing_is_asked_again(fake: Fake) -> None:
    await ready(fake)
    client = LoadClient(Target("127.0.0.1", fake.diameter_port), timeout_s=0.2)
    await client.start()
    fake.drop_once = {1, 2}
    started = time.monotonic()
    assert (await asyncio.wait_for(Drill(client).send(), 30)).result == 2001
    assert time.monotonic() - started >= 0.4
    assert client.counts.resent == 2
    await client.stop()


async def test_it_waits_for_a_server_that_is_not_there_yet() -> None:
    client = LoadClient(Target("127.0.0.1", 1))
    with pytest.raises(ConnectionError, match="is the server running"):
        await client.start(wait_s=0.2)
    await client.stop()


async def test_an_answer_for_another_session_is_counted(fake: Fake) -> None:
    await ready(fake)
    client = LoadClient(Target("127.0.0.1", fake.diameter_port))
    await client.start()
    drill, number = Drill(client), client.next_number()
    frame = drill.session.frame(ids(number), stamp(time.time()))
    client.send(drill.link, Request(frame, b"somebody else", lambda *_: None, 0), number)
    assert await client.quiet(2)
    assert client.counts.misaddressed == 1
    await client.stop()
