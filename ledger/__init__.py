"""The write side of the credit ledger: what may happen, and what has happened.

`domain` decides, `store` keeps, `application` joins the two behind one method per command. The law of this room: a
balance changes only by an event, an event is never edited, and no answer leaves before its event is on disk.
"""
