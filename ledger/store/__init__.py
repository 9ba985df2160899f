"""The event log on PostgreSQL: eventsourcing's recorder, mapper and factory, fitted to typed columns.

The law of this room: positions are gapless and in commit order, because every append happens under one lock; and the
log is append-only, by privilege and by trigger. The tables beside the log are derived from it and can be checked.
"""
