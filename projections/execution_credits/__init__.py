"""Execution credits: each as it was last defined, with its present billing period and what is used of that."""
