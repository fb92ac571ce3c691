"""Failures inside the twins say what differs."""

import pytest

pytest.register_assert_rewrite("tests.balances.twins")
