"""The sets of account groups that uses named, each by its id: a hash of the sorted ids of its groups."""
