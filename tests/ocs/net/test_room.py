"""Room for connections that say nothing."""

from ocs.net.room import ConnectionRoom


def test_the_longest_silent_one_goes() -> None:
    room = ConnectionRoom[int](silent_max=2)
    assert [room.enter(number, "a") for number in range(4)] == [None, None, 0, 1]
    assert (len(room), room.silent) == (2, 2)


def test_who_speaks_stays() -> None:
    room = ConnectionRoom[int](most=2, silent_max=2)
    room.enter(1, "a")
    room.speaks(1)
    assert [room.enter(number, "b") for number in (2, 3, 4)] == [None, 2, 3]
    room.speaks(4)
    assert room.enter(5, "c") == 5  # all others speak
    assert len(room) == 2
    room.is_silent(1)
    assert room.enter(6, "c") == 1


def test_an_address_that_has_too_many_pushes_out_its_own() -> None:
    room = ConnectionRoom[int](silent_max=100, of_address=2)
    room.enter(0, "other")
    assert [room.enter(number, "a") for number in (1, 2, 3)] == [None, None, 1]
    room.speaks(2)
    room.speaks(3)
    assert room.enter(4, "a") == 4
    assert room.enter(5, "b") is None


def test_nothing_is_left_of_those_who_left() -> None:
    room = ConnectionRoom[int](most=5, silent_max=5, of_address=5)
    for number in range(1_000):
        room.enter(number, str(number % 7))
        room.speaks(number)
        if number % 2:
            room.is_silent(number)
        room.leave(number)
        room.leave(number)
        room.is_silent(number)
    assert (len(room), room.silent, room._counts, room._silent_of) == (0, 0, {}, {})


def test_those_of_one_address_that_say_nothing() -> None:
    room = ConnectionRoom[int](silent_max=100, silent_of_address=2)
    assert [room.enter(number, "a") for number in (1, 2, 3)] == [None, None, 1]
    room.speaks(2)
    assert [room.enter(number, "a") for number in (4, 5)] == [None, 3]
    assert room.enter(6, "b") is None
