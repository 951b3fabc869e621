"""The doctor: looks at an installation from outside and says what is wrong with it, and what to do.

It changes nothing. Requests are served without it, and it must not know how they are.
"""
