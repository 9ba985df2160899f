"""The command line: data on stdout, talk on stderr, exit codes that scripts can use, nothing that needs a terminal.

The law of this room: a command does what the doors do, by the same commands and questions of the ledger.
"""
