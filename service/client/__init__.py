"""For services that follow the ledger: its events in their order, from any place on, over HTTP.

The law of this room: it stands alone. It knows the wire and nothing of the ledger behind it, decides without I/O what
to ask next and when to try again, and has two thin faces, for callers that wait and for asyncio. Nothing is lost,
doubled or reordered between the log and whoever takes events from it: every place to go on from is one that was
handed out whole.
"""

from service.client.awaiting import AsyncLedgerClient
from service.client.blocking import LedgerClient
from service.client.errors import CursorGone, LedgerError
from service.client.messages import Event, Page

__all__ = ["AsyncLedgerClient", "CursorGone", "Event", "LedgerClient", "LedgerError", "Page"]
