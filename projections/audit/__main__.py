"""The process that folds lines for another one: orders come on stdin, the answer goes to stdout."""

import gc
from contextlib import suppress
from multiprocessing.connection import Connection

from projections.audit.folding import fold_orders

GC_ALLOCATIONS = 200_000
"""Between two looks of the cycle collector: a fold allocates for each line, and nothing in a cycle."""


def main() -> None:
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):  # whoever gave the orders has gone
        fold_orders(Connection(0, writable=False), Connection(1, readable=False))


if __name__ == "__main__":
    main()
