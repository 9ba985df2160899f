"""Bodies of requests about debits: JSON whose numbers keep every digit, read without a model for each item."""

import json
from typing import Any

from ledger.domain.refusals import InvalidArgument

WHOLE_NUMBER_DIGITS_MAX = 40
"""Of a longer whole number only so much is read: it is beyond every bound that there is, and stays beyond it."""


class Number:
    """A number with a point or an exponent, by the text that it was sent as; no text, and no float either."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def json_body(raw: bytes) -> Any:
    """What the bytes say; a number with a point or an exponent is a `Number`. Refuses: InvalidArgument (body)."""
    try:
        return _DECODER.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("body", f"must be JSON: {error}") from None


def _whole(text: str) -> int:
    return int(text[: WHOLE_NUMBER_DIGITS_MAX + 2])


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=_whole, parse_constant=_no_constant)
