"""The feed: the log as messages for other services, by page, by stream and by webhook.

It reads the log alone, through the view `movements`, and keeps nothing: a subscriber's place is the subscriber's own.
Every message it ever gave out it gives out again, in order of position, none left out; the same event has the same id
for ever.
"""
