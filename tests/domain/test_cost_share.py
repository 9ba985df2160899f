"""The cost goes with the credits: whatever the cuts, the shares add up to it."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.credits import AMOUNT_MAX, credits_decimal
from ledger.domain.grant_details import cost_share, half_even

amounts = st.integers(1, 20) | st.integers(1, AMOUNT_MAX)
costs = st.integers(0, 20) | st.integers(0, AMOUNT_MAX)


@given(granted=amounts, units=costs, data=st.data())
def test_the_shares_of_any_cuts_add_up_to_the_cost(granted: int, units: int, data: st.DataObject) -> None:
    cost = credits_decimal(units)
    cuts = sorted({0, granted, *data.draw(st.lists(st.integers(0, granted), max_size=8))})
    shares = [cost_share(cost, granted, one, other) for one, other in pairwise(cuts)]
    assert sum(int(share.scaleb(9)) for share in shares) == units
    for share, (one, other) in zip(shares, pairwise(cuts), strict=True):
        assert abs(int(share.scaleb(9)) * granted - units * (other - one)) <= granted  # a billionth at most
        assert share >= 0


@pytest.mark.parametrize(
    ("cost",           "granted", "before", "after", "share"),
    [
        ("10",          4,         0,        1,       "2.5"),
        ("10",          4,         3,        4,       "2.5"),
        ("10",          3,         0,        1,       "3.333333333"),
        ("10",          3,         1,        2,       "3.333333334"),
        ("10",          3,         2,        3,       "3.333333333"),
        ("0.000000001", 2,         0,        1,       "0"),            # a half goes to the even one
        ("0.000000001", 2,         1,        2,       "0.000000001"),
        ("0.000000003", 2,         0,        1,       "0.000000002"),
        ("0.000000003", 2,         1,        2,       "0.000000001"),
        ("7",           5,         2,        2,       "0"),
        ("0",           5,         0,        5,       "0"),
    ],
)  # fmt: skip
def test_a_share_of_the_cost(cost: str, granted: int, before: int, after: int, share: str) -> None:
    assert cost_share(Decimal(cost), granted, before, after) == Decimal(share)


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"),
    [(0, 2, 0), (1, 2, 0), (3, 2, 2), (5, 2, 2), (7, 2, 4), (1, 3, 0), (2, 3, 1), (6, 3, 2), (10**28, 10, 10**27)],
)  # fmt: skip
def test_halves_go_to_the_even_one(dividend: int, divisor: int, quotient: int) -> None:
    assert half_even(dividend, divisor) == quotient
