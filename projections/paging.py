"""Pages of lists.

Where a list is ordered newest first, each item is at a place that never changes: its position in the log. So a page
stays right while items are added: a cursor names a place, not a number of items. Other lists have numbered pages.
"""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

Row = TypeVar("Row")
NEWEST = 2**63 - 1
"""A place newer than any."""


class Page(NamedTuple, Generic[Row]):
    """Items newest first, and whether there are older ones (next) and newer ones (previous)."""

    rows: Sequence[Row]
    has_next: bool
    has_previous: bool


class Window(NamedTuple):
    """At most `size` items between two places, both excluded: the newest of them, or `backward` the oldest."""

    size: int
    below: int | None = None
    above: int | None = None
    backward: bool = False

    def values(self) -> dict[str, int | bool]:
        """What the SQL of a page takes; it asks for one item more, to know whether there is one."""
        return {
            "limit": self.size + 1,
            "below": NEWEST if self.below is None else self.below,
            "above": 0 if self.above is None else self.above,
            "backward": self.backward,
        }

    def page(self, rows: Sequence[Row], place: Callable[[Row], int]) -> Page[Row]:
        """The page from the rows that the SQL found. At a cursor there is always an item: the cursor's own."""
        more = len(rows) > self.size
        kept = sorted(rows[: self.size], key=place, reverse=True)
        if self.backward:
            return Page(kept, self.above is not None, more)
        return Page(kept, more, self.below is not None)


class NumberedPage(NamedTuple):
    """A page of a list, from 1, of at most so many items."""

    page: int
    limit: int

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit
