"""Recharges: the automatic recharge of each pool that has one, its settings and what it has done."""
