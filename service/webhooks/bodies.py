"""The messages that wait, as far as they fit into memory; the others are read from the log when it is their turn."""

from collections.abc import Awaitable, Callable, Sequence

from service.feed.messages import Message

KEPT_BYTES_MAX = 4 * 1024 * 1024
"""Of one endpoint."""
READ_AGAIN_EVENTS = 200


class Bodies:
    """`read` reads the messages of (after, until]; `wanted` tells whether a position waits."""

    def __init__(self, read: Callable[[int, int], Awaitable[Sequence[Message]]], wanted: Callable[[int], bool]) -> None:
        self._read = read
        self._wanted = wanted
        self._kept: dict[int, Message] = {}
        self._bytes = 0

    def keep(self, messages: Sequence[Message]) -> None:
        """Keep those that wait, the first ones first."""
        for message in messages:
            if self._bytes >= KEPT_BYTES_MAX:
                return
            if message.position not in self._kept and self._wanted(message.position):
                self._kept[message.position] = message
                self._bytes += len(message.body)

    async def of(self, position: int) -> Message | None:
        """The message of a position; None if the log has none there."""
        if position not in self._kept:
            more = READ_AGAIN_EVENTS if self._bytes < KEPT_BYTES_MAX else 1
            messages = await self._read(position - 1, position - 1 + more)
            self.keep(messages[1:])
            return next((each for each in messages if each.position == position), None)
        return self._kept[position]

    def forget(self, position: int) -> None:
        message = self._kept.pop(position, None)
        if message is not None:
            self._bytes -= len(message.body)
