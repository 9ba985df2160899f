"""Sets of account groups, folded by Python."""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from ledger.domain.events import Debited
from projections.group_sets.queries import GroupSet
from projections.replay import EventRow, Replay, Rest

GROUP_SET_BYTES = 16
QUOTED = re.compile(r'[{},"\\ \t\n\r\v\f]|\A\Z|\A[Nn][Uu][Ll][Ll]\Z')
"""What PostgreSQL quotes in the text of an array."""


class GroupSetsReplay(Replay[tuple[str, ...]]):
    columns = ("group_set", "account_groups")
    part_of_event = None

    def take(self, stretch: Sequence[EventRow]) -> None:
        for event in stretch:
            if event.account_groups is not None and event.type == Debited.TOPIC:
                self.states[group_set_of(event.account_groups),] = event.account_groups

    def rest(self, state: tuple[str, ...]) -> Rest:
        return (state,)


@lru_cache(maxsize=65536)
def group_set_of(account_groups: tuple[str, ...]) -> GroupSet:
    """The id of a set: 128 bits of a hash of its groups, sorted, as PostgreSQL writes an array of them."""
    text = "{" + ",".join(map(_element, account_groups)) + "}"
    return GroupSet(str(UUID(bytes=hashlib.sha256(text.encode()).digest()[:GROUP_SET_BYTES])))


def _element(text: str) -> str:
    if QUOTED.search(text) is None:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
