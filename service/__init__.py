"""The doors and the wiring: where the ledger meets processes, machines and people.

The law of this room: nothing is decided here. `bootstrap` is the one place that puts the parts together.
"""
