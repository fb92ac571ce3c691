"""Who may be a peer: stories of connections, as the supervisor sees them."""

from ocs.net.diameter.claims import HUNG_MS, Claims, Holder


class World:
    """Records what the arbiter asks and decides."""

    def __init__(self) -> None:
        self.asked: list[tuple[Holder, int]] = []
        self.said: list[tuple[Holder, bool]] = []
        self.claims = Claims(
            lambda holder, claim: self.asked.append((holder, claim)),
            lambda holder, granted: self.said.append((holder, granted)),
        )


A, B, C, D = Holder("w1", 1), Holder("w2", 2), Holder("w1", 3), Holder("w2", 4)


def test_the_first_gets_it_at_once() -> None:
    world = World()
    world.claims.claim(A, "pgw.example.net", 1, 0)
    assert (world.said, world.asked) == ([(A, True)], [])


def test_the_old_one_is_silent() -> None:
    world = World()
    world.claims.claim(A, "pgw.example.net", 1, 0)
    world.claims.claim(B, "PGW.example.net", 1, 10)
    assert [holder for holder, _ in world.asked] == [A]
    world.claims.probed(world.asked[0][1], alive=False)
    world.claims.closed(A)
    assert world.said == [(A, True), (B, True)]


def test_the_old_one_answers() -> None:
    world = World()
    world.claims.claim(A, "pgw", 1, 0)
    world.claims.claim(B, "pgw", 1, 10)
    world.claims.claim(C, "pgw", 1, 11)
    assert len(world.asked) == 1
    world.claims.probed(world.asked[0][1], alive=True)
    assert world.said[1:] == [(B, False), (C, False)]
    world.claims.claim(D, "pgw", 1, 12)  # and asked again the next time
    assert len(world.asked) == 2


def test_the_old_one_closes_while_it_is_asked() -> None:
    world = World()
    world.claims.claim(A, "pgw", 1, 0)
    world.claims.claim(B, "pgw", 1, 10)
    world.claims.closed(A)
    assert world.said[1:] == [(B, True)]
    world.claims.probed(world.asked[0][1], alive=False)  # late, and about somebody gone
    world.claims.claim(C, "pgw", 1, 20)
    assert [holder for holder, _ in world.asked] == [A, B]


def test_its_worker_dies() -> None:
    world = World()
    world.claims.claim(A, "pgw", 1, 0)
    world.claims.claim(B, "pgw", 1, 10)
    world.claims.ended("w1")
    assert world.said[1:] == [(B, True)]


def test_its_worker_hangs() -> None:
    world = World()
    world.claims.claim(A, "pgw", 1, 0)
    world.claims.claim(B, "pgw", 1, 10)
    world.claims.tick(10 + HUNG_MS - 1)
    assert world.said[1:] == []
    world.claims.tick(10 + HUNG_MS)
    assert world.said[1:] == [(B, True)]


def test_the_new_one_gives_up_first() -> None:
    world = World()
    world.claims.claim(A, "pgw", 1, 0)
    world.claims.claim(B, "pgw", 1, 10)
    world.claims.closed(B)
    world.claims.probed(world.asked[0][1], alive=True)
    world.claims.tick(99_999)
    assert world.said == [(A, True)]


def test_several_are_allowed() -> None:
    world = World()
    for holder in (A, B):
        world.claims.claim(holder, "pgw", 2, 0)
    assert world.said == [(A, True), (B, True)]
    world.claims.claim(C, "pgw", 2, 5)
    assert {holder for holder, _ in world.asked} == {A, B}
    world.claims.probed(world.asked[0][1], alive=True)
    assert len(world.said) == 2
    world.claims.probed(world.asked[1][1], alive=False)
    assert world.said[2:] == [(C, True)]


def test_nothing_is_kept_of_those_who_left() -> None:
    world = World()
    for number in range(100):
        holder = Holder("w1", number)
        world.claims.claim(holder, f"peer-{number}", 1, 0)
        world.claims.closed(holder)
    assert not world.claims._holders
    assert not world.claims._cases
