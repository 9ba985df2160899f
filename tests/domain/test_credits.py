"""Amounts are exact: what is written is what is kept, or it is refused."""

from decimal import Decimal

import pytest

from ledger.domain.credits import (
    AMOUNT_MAX,
    credits_column,
    credits_decimal,
    credits_from_column,
    credits_of,
    credits_of_float,
    credits_text,
)
from ledger.domain.refusals import InvalidArgument

ONE = 10**9
NINES = "9999999999999999999"  # 19 digits

NOT_A_NUMBER = "must be a decimal number"
NOT_OF_A_TYPE = "must be a decimal number, given as text, int or Decimal"
NOT_FINITE = "must be a finite number with at most 19 digits before the point"
BELOW_ZERO = "must not be below zero"
TOO_LARGE = "must have at most 19 digits before the point"
TOO_FINE = "must have at most 9 places after the point"
NOT_EXACT = "has more than 15 significant digits: give it as text in amountExact"

READ = [
    # value                             units
    ("0",                               0),
    ("0.0",                             0),
    ("-0",                              0),
    ("-0.000000000",                    0),
    ("1",                               ONE),
    ("+1",                              ONE),
    ("007",                             7 * ONE),
    ("0" * 40 + "5",                    5 * ONE),
    ("1.5",                             1_500_000_000),
    ("1.500000000",                     1_500_000_000),
    ("0.000000001",                     1),
    ("5.",                              5 * ONE),
    (".5",                              500_000_000),
    ("1e3",                             1000 * ONE),
    ("1E+3",                            1000 * ONE),
    ("1e-9",                            1),
    ("1.5e-8",                          15),
    ("1e18",                            10**27),
    (NINES,                             int(NINES) * ONE),
    (f"{NINES}.999999999",              AMOUNT_MAX),
    (f"{NINES}999999999e-9",            AMOUNT_MAX),
    (0,                                 0),
    (60,                                60 * ONE),
    (10**19 - 1,                        int(NINES) * ONE),
    (Decimal(0),                      0),
    (Decimal("-0"),                     0),
    (Decimal("1.5"),                    1_500_000_000),
    (Decimal("1E+3"),                   1000 * ONE),
    (Decimal("1E-9"),                   1),
    (Decimal(f"{NINES}.999999999"),     AMOUNT_MAX),
]  # fmt: skip

REFUSED = [
    # value                             reason
    ("",                                NOT_A_NUMBER),
    (".",                               NOT_A_NUMBER),
    ("-",                               NOT_A_NUMBER),
    ("e5",                              NOT_A_NUMBER),
    ("+-5",                             NOT_A_NUMBER),
    ("five",                            NOT_A_NUMBER),
    ("0x10",                            NOT_A_NUMBER),
    ("1,5",                             NOT_A_NUMBER),
    ("1_000",                           NOT_A_NUMBER),
    ("1_0.5",                           NOT_A_NUMBER),
    ("1.0_5",                           NOT_A_NUMBER),
    (" 5",                              NOT_A_NUMBER),
    ("5 ",                              NOT_A_NUMBER),
    ("5\n",                             NOT_A_NUMBER),
    ("1 000",                           NOT_A_NUMBER),
    ("5\u00a0",                         NOT_A_NUMBER),
    ("\u0663",                          NOT_A_NUMBER),  # an Arabic-Indic three
    ("5.\u0663",                        NOT_A_NUMBER),
    ("\uff15",                          NOT_A_NUMBER),  # a full-width five
    ("\u00b2",                          NOT_A_NUMBER),  # a superscript two
    ("1.\u00b2",                        NOT_A_NUMBER),
    ("5\0",                             NOT_A_NUMBER),
    ("0" * 64 + "5",                    NOT_A_NUMBER),  # longer than any amount
    ("1e9999999999999999999",           NOT_A_NUMBER),
    ("NaN",                             NOT_FINITE),
    ("sNaN",                            NOT_FINITE),
    ("nan7",                            NOT_FINITE),
    ("Infinity",                        NOT_FINITE),
    ("-inf",                            NOT_FINITE),
    ("1e41",                            NOT_FINITE),
    ("1e999999999",                     NOT_FINITE),
    (Decimal("NaN"),                    NOT_FINITE),
    (Decimal("sNaN"),                   NOT_FINITE),
    (Decimal("-Infinity"),              NOT_FINITE),
    ("-1",                              BELOW_ZERO),
    ("-0.000000001",                    BELOW_ZERO),
    ("-1e-9",                           BELOW_ZERO),
    (-1,                                BELOW_ZERO),
    (Decimal("-0.5"),                   BELOW_ZERO),
    ("10000000000000000000",            TOO_LARGE),
    ("10000000000000000000.5",          TOO_LARGE),
    ("1e19",                            TOO_LARGE),
    (10**19,                            TOO_LARGE),
    pytest.param(10**5000,              TOO_LARGE, id="an int of 5001 digits"),
    (Decimal("1E+19"),                  TOO_LARGE),
    ("0.0000000001",                    TOO_FINE),
    ("1.0000000001",                    TOO_FINE),
    ("1e-10",                           TOO_FINE),
    ("1.5e-9",                          TOO_FINE),
    ("1e-999999999",                    TOO_FINE),
    (f"{NINES}.9999999999",             TOO_FINE),
    (Decimal("1E-10"),                  TOO_FINE),
    (1.5,                               NOT_OF_A_TYPE),
    (True,                              NOT_OF_A_TYPE),
    (None,                              NOT_OF_A_TYPE),
    (b"5",                              NOT_OF_A_TYPE),
]  # fmt: skip


@pytest.mark.parametrize(("value", "units"), READ)
def test_an_amount_is_read_exactly(value: object, units: int) -> None:
    assert credits_of(value) == units


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_what_is_not_an_exact_amount_is_refused(value: object, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        credits_of(value, field="credits")
    assert refused.value.facts == {"field": "credits", "reason": reason}


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (0.0,                 0),
        (-0.0,                0),
        (0.1,                 100_000_000),
        (1.5,                 1_500_000_000),
        (1e-09,               1),
        (1e-07,               100),
        (123456.789012345,    123_456_789_012_345),
        (123456789012345.0,   123_456_789_012_345 * ONE),
        (1e16,                10**25),
        (1e18,                10**27),
        (123456789012345e4,   123_456_789_012_345 * 10**4 * ONE),
    ],
)  # fmt: skip
def test_a_float_is_read_by_its_shortest_text(value: float, units: int) -> None:
    assert credits_of_float(value) == units


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0.1 + 0.2,             NOT_EXACT),
        (1234567890123456.0,    NOT_EXACT),
        (1234567.890123456,     NOT_EXACT),
        (9007199254740993.0,    NOT_EXACT),
        (1e19,                  TOO_LARGE),
        (1e-10,                 TOO_FINE),
        (5e-324,                TOO_FINE),
        (-1.5,                  BELOW_ZERO),
        (float("nan"),          NOT_FINITE),
        (float("inf"),          NOT_FINITE),
        (1e300,                 NOT_FINITE),
        ("1e999999999999",      NOT_FINITE),
        ("-1e999999999999",     NOT_FINITE),
        ("1e-999999999999",     TOO_FINE),
    ],
)  # fmt: skip
def test_a_float_that_is_not_exact_is_refused(value: float | str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        credits_of_float(value)
    assert refused.value.facts == {"field": "amount", "reason": reason}


def test_the_refusal_of_a_float_names_the_exact_twin_of_its_own_field() -> None:
    with pytest.raises(InvalidArgument, match="give it as text in thresholdValueExact"):
        credits_of_float(0.1 + 0.2, field="thresholdValue")


@pytest.mark.parametrize(
    ("units",           "text",                         "column"),
    [
        (0,             "0",                            "0.000000000"),
        (1,             "0.000000001",                  "0.000000001"),
        (-1,            "-0.000000001",                 "-0.000000001"),
        (ONE,           "1",                            "1.000000000"),
        (-ONE,          "-1",                           "-1.000000000"),
        (10 * ONE,      "10",                           "10.000000000"),
        (12_500_000_000, "12.5",                        "12.500000000"),
        (-1_500_000_000, "-1.5",                        "-1.500000000"),
        (AMOUNT_MAX,    "9999999999999999999.999999999", "9999999999999999999.999999999"),
        (-AMOUNT_MAX,   "-9999999999999999999.999999999", "-9999999999999999999.999999999"),
    ],
)  # fmt: skip
def test_an_amount_is_written_as_text_as_a_column_and_as_a_decimal_and_read_back(
    units: int, text: str, column: str
) -> None:
    assert credits_text(units) == text
    assert credits_column(units) == column
    assert credits_from_column(column) == units
    assert credits_decimal(units) == Decimal(column)
    assert credits_decimal(units).as_tuple().exponent == -9


@pytest.mark.parametrize("text", ["", "1", "1.5", "1.", "1.0000000000", "NaN", "Infinity", "x.000000000"])
def test_a_column_that_has_not_nine_places_is_not_an_amount(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a numeric with 9 places|invalid literal"):
        credits_from_column(text)
