"""What waits for one endpoint: a lane for each holder, in order; of each lane one message is on its way at most."""

from collections import deque
from typing import NamedTuple


class Waiting(NamedTuple):
    """A message that is to be delivered, and how often that was tried in vain."""

    position: int
    attempts: int = 0


class Lanes:
    """Lanes take turns. One that was given its turn has no other until it is told to go on."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Waiting]] = {}
        self._turns: deque[str] = deque()
        self._positions: set[int] = set()

    def __len__(self) -> int:
        """How many messages wait, those on their way counted in."""
        return len(self._positions)

    def __contains__(self, position: int) -> bool:
        return position in self._positions

    def add(self, holder: str, waiting: Waiting) -> None:
        self._positions.add(waiting.position)
        lane = self._lanes.get(holder)
        if lane is None:
            self._lanes[holder] = deque([waiting])
            self._turns.append(holder)
        else:
            lane.append(waiting)

    def turn(self) -> tuple[str, Waiting] | None:
        """The lane whose turn it is, and its first message; None if there is none."""
        if not self._turns:
            return None
        holder = self._turns.popleft()
        return holder, self._lanes[holder][0]

    def failed(self, holder: str) -> Waiting:
        """The first message of a lane was tried in vain, and stays where it is."""
        lane = self._lanes[holder]
        lane[0] = lane[0]._replace(attempts=lane[0].attempts + 1)
        return lane[0]

    def done(self, holder: str) -> bool:
        """The first message of a lane waits no more; whether others do, so that the lane is to go on."""
        lane = self._lanes[holder]
        self._positions.remove(lane.popleft().position)
        if not lane:
            del self._lanes[holder]
        return bool(lane)

    def go_on(self, holder: str) -> None:
        """A lane that was given its turn may have another."""
        self._turns.append(holder)
