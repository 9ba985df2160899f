"""The audit: the log folded a second time, line by line, each held to every law. Pure, like the domain.

It takes no event's word for what a law decides. Where one breaks a law it is named, and the fold goes on from what it
says, so that one fault is told once.
"""
