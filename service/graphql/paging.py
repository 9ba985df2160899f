"""Relay paging over lists that are newest first: cursors that stay right while items are added."""

import base64
import binascii

import strawberry

from ledger.domain.refusals import InvalidArgument
from projections.paging import Page, Row, Window
from service.graphql.types import PageInfo

PAGE_DEFAULT = 20
PAGE_MAX = 100
CURSOR_CHARACTERS_MAX = 64


@strawberry.input(description="A page: the first items after a cursor, or the last ones before a cursor.")
class Paging:
    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None


def window_of(paging: Paging | None, what: str) -> Window:
    """The window that a page asks for. Refuses (InvalidArgument) pages above 100; they are never cut."""
    paging = paging or Paging()
    if paging.first is not None and paging.last is not None:
        raise InvalidArgument("paging", "must have either first or last")
    size, field = (paging.first, "first") if paging.last is None else (paging.last, "last")
    size = PAGE_DEFAULT if size is None else size
    if not 0 <= size <= PAGE_MAX:
        raise InvalidArgument(f"paging.{field}", f"must be from 0 to {PAGE_MAX}")
    return Window(
        size,
        below=_place(paging.after, what, "paging.after"),
        above=_place(paging.before, what, "paging.before"),
        backward=paging.last is not None,
    )


def cursor_of(place: int, what: str) -> str:
    """An opaque cursor of a place in one kind of list."""
    return base64.urlsafe_b64encode(f"{what}:{place}".encode()).decode().rstrip("=")


def page_info(page: Page[Row], cursors: list[str]) -> PageInfo:
    return PageInfo(
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
        has_next_page=page.has_next,
        has_previous_page=page.has_previous,
    )


def _place(cursor: str | None, what: str, field: str) -> int | None:
    if cursor is None:
        return None
    try:
        if len(cursor) > CURSOR_CHARACTERS_MAX:
            raise ValueError("too long")
        kind, _, place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(":")
        if kind != what or not place.isdigit() or len(place) > 18:
            raise ValueError("of another list")
    except (ValueError, binascii.Error):
        raise InvalidArgument(field, "is no cursor of this list") from None
    return int(place)
