SELECT position FROM movements ORDER BY position DESC LIMIT 1
