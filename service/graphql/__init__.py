"""The GraphQL door: the contract's words turned into commands and questions, and their answers into its types.

The law of this room: it holds no rule of the ledger. What a mutation answers is read from the log, never from a read
model that could be behind.
"""
