"""What finance asks: each question is told once, and both the command line and HTTP ask it from there.

Law: the same question has the same answer at both doors.
"""
