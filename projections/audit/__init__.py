"""The audit replay: reads the lines of a log or of an export, folds them in several processes, compares, and reports.

It computes nothing that a read model computes by a read model's own means: what it is compared with has no part in it.
"""
