SELECT position FROM followed WHERE reactor = %(reactor)s
