"""The benchmark: what the ledger does in a second, beside yardsticks that the same machine gave in the same run.

Each section has a module that measures it and tells its rows; `sections` knows how large they are, `report` how they
read.
"""
