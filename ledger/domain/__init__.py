"""What may happen to credits, as pure functions of values: no clock, no database, no I/O.

Each aggregate is state, decisions that return events or raise a refusal, and `evolve`, which applies one event. The
law of this room: for every lot, granted - debited + refunded - voided - expired = balance, and balance >= 0.
"""
