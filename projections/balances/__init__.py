"""Balances by pool: what came in, what went out and what is booked, over all lots of a pool."""
