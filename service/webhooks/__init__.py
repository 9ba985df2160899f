"""Webhooks: the messages of the feed, signed and sent to where subscribers want to be called.

At least once, and for each holder in the order of the log: his next message is sent when the one before was taken or
given up. What waits is kept in tables of its own, so nothing is ever sent inside a transaction of the ledger, or by a
rebuild. Times here are the machine's, never the ledger's clock: retries run on the monotonic one; timestamps and the
overlap of secrets are of the real one, as receivers check them.
"""
