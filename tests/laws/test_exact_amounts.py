"""Amounts stay exact: read, summed, written and read back without ever being rounded."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import repeat

from hypothesis import example, given
from hypothesis import strategies as st

from ledger.domain.credits import (
    AMOUNT_MAX,
    credits_column,
    credits_decimal,
    credits_from_column,
    credits_of,
    credits_of_float,
    credits_text,
)
from ledger.domain.instants import add_months, months_between
from ledger.domain.refusals import InvalidArgument
from tests.domain.scenario import consume, issue, refund
from tests.domain.scenario import given as scenario

MAXIMAL = "9999999999999999999.999999999"

amounts = st.integers(0, AMOUNT_MAX)
sums = st.integers(-(10**38) + 1, 10**38 - 1)
number_like = st.from_regex(r"[+-]?[0-9]{0,21}(\.[0-9]{0,11})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(sums)
def test_every_amount_reads_back_from_its_column_and_its_decimal(units: int) -> None:
    assert credits_from_column(credits_column(units)) == units
    assert credits_decimal(units) == Decimal(credits_column(units))
    assert Fraction(credits_text(units)) == Fraction(units, 10**9)


@given(amounts)
def test_every_amount_reads_back_from_its_shortest_text(units: int) -> None:
    text = credits_text(units)
    assert credits_of(text) == credits_of(Decimal(text)) == units
    assert not text.startswith("0") or text[:2] in ("0", "0.")
    assert "." not in text or text[-1] not in "0."


@given(number_like | st.text(max_size=8))
@example(MAXIMAL)
@example("1e19")
@example("0.0000000001")
def test_a_text_is_read_exactly_or_refused(text: str) -> None:
    try:
        units = credits_of(text)
    except InvalidArgument:
        if _is_plain_amount(text):
            raise
    else:
        assert Fraction(units, 10**9) == Fraction(Decimal(text))
        assert 0 <= units <= AMOUNT_MAX


@given(st.integers(0, 10**15 - 1), st.integers(0, 9))
def test_a_float_of_fifteen_digits_is_read_as_it_is_written(digits: int, places: int) -> None:
    text = credits_text(digits * 10 ** (9 - places))
    assert credits_of_float(float(text)) == credits_of(text)


@given(st.floats())
def test_a_float_is_read_as_its_shortest_text_or_refused(value: float) -> None:
    try:
        units = credits_of_float(value)
    except InvalidArgument:
        return
    assert Fraction(units, 10**9) == Fraction(Decimal(repr(value)))


def test_a_million_maximal_amounts_sum_exactly_and_fit_their_column() -> None:
    total = sum(repeat(credits_of(MAXIMAL), 10**6))
    assert total == 10**6 * (10**28 - 1)
    column = credits_column(total)
    assert column == "9999999999999999999999999.999000000"
    assert len(column.replace(".", "")) <= 38
    assert credits_from_column(column) == total
    assert credits_decimal(total) == Decimal(column)


def test_a_pool_of_maximal_grants_is_spent_to_the_last_billionth_and_given_back_whole() -> None:
    whole = 100 * AMOUNT_MAX
    spent = scenario(*(issue(f"g{number:03}", MAXIMAL) for number in range(100)))
    assert spent.book.pool.balance == whole
    for number in range(99):
        spent.when(consume(MAXIMAL, f"d{number}"))
    spent.when(consume("9999999999999999999.999999998", "d99"))
    assert spent.book.pool.balance == 1
    for number in range(100):
        spent.when(refund(f"d{number}"))
    assert spent.book.pool.balance == whole


instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # zone apart


@given(instants, st.integers(-600, 600))
def test_stepping_by_months_and_counting_them_agree(anchor: datetime, months: int) -> None:
    stepped = add_months(anchor, months)
    assert months_between(anchor, stepped) == months
    assert (stepped.year - anchor.year) * 12 + stepped.month - anchor.month == months
    assert stepped.timetz() == anchor.timetz()


@given(instants, instants)
def test_every_instant_lies_in_exactly_one_period(anchor: datetime, instant: datetime) -> None:
    months = months_between(anchor, instant)
    assert add_months(anchor, months) <= instant < add_months(anchor, months + 1)


def _is_plain_amount(text: str) -> bool:
    """Digits with at most 19 before and 9 after the point: what must never be refused."""
    whole, _, part = text.partition(".")
    plain = text.isascii() and whole.isdigit() and (part == "" or part.isdigit())
    try:
        return plain and len(whole) <= 19 and len(part) <= 9 and Decimal(text) >= 0
    except InvalidOperation:
        return False
