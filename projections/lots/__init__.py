"""Lots: the state and terms of each grant and of each billing period of an execution credit."""
