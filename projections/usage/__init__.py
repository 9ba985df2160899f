"""Usage: credits used, less what was refunded, by pool, by set of dimensions and by the instant of the use.

A debit and all its refunds count at the debit's use, so what a window says of a use changes with its refunds.
"""
