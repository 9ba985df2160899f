-- Where the transaction of an event ends.
SELECT transaction_last FROM movements WHERE position = %(position)s
