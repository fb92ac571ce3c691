"""Turns: what is done again and again comes at common instants, and no less often than it is to."""

import pytest

from ocs.clock import turn_s


@pytest.mark.parametrize(
    ("now_s", "every_s", "due_s"),
    [
        (10.0, 1.0, 11.0),
        (10.02, 1.0, 11.0),  # it took a moment: still once a second
        (10.3, 2.0, 12.0),
        (10.3, 0.5, 10.5),
        (10.5, 0.5, 11.0),
        (10.98, 5.0, 15.5),
        (10.3, 0.225, 10.525),
        (10.3, 0.0, 10.3),
    ],
)
def test_when_a_turn_comes(now_s: float, every_s: float, due_s: float) -> None:
    assert turn_s(now_s, every_s) == pytest.approx(due_s)
