"""Schedules: every grant schedule as it was last defined."""
