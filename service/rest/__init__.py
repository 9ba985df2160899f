"""The REST door: allocation rules and their usage, and the login that gives tokens.

What is wrong with a request is told whole: every bad field by its name on the wire, and its bound.
"""
