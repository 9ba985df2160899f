"""Allocation rules, each version of them: so a list can be told as it was at any position."""
