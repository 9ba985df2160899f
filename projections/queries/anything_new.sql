-- Whether the log goes on beyond a position.
SELECT EXISTS (SELECT FROM movements WHERE position > %(position)s) AS anything
