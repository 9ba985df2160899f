"""Entries: which movements of the log are whose, so that a page of any ledger costs the same after years."""
