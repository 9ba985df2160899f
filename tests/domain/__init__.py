"""The domain alone: no I/O, no clock, under a second."""

import pytest

pytest.register_assert_rewrite("tests.domain.scenario")  # so that a failed `then` shows what came instead
