"""Makes failures inside the twins show what differs."""

import pytest

pytest.register_assert_rewrite("tests.balances.twins")
