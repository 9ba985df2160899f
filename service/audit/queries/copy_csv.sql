-- Rows as CSV after RFC 4180 but for line ends of one character; null is nothing at all, an empty text is "".
COPY ({rows}) TO STDOUT (FORMAT csv)
