"""The read side: read models folded from the log, each a folder with schema.sql, fold.sql and queries.py.

The law of this room: folding the log into an empty read model gives, byte for byte, what following it gave, however
the log was cut into windows. What only time changes is computed from the row and the instant of the read.
"""
