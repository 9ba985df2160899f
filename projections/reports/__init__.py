"""Reports: what finance asks of the log, folded from the log itself at two clocks, and never kept.

Law: the same question at the same two clocks has the same answer, byte for byte, for ever.
"""
