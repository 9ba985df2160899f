"""Usage by set of account groups: credits used, less what was refunded, by currency and by the instant of the use.

A debit and all its refunds count at the debit's use; each has a row of its own at that instant. Uses that name no
account group are a set of their own.
"""
