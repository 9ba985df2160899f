"""What finance asks of the ledger, by the command line and over HTTP."""
