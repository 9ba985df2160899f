"""The benchmark: the debit rows of the ledger beside yardsticks that the same machine gave in the same run."""
