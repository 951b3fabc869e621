"""The core: users, passwords, sessions and logins, as values and refusals.

It knows no HTTP, no SQL, no wire format and no clock of its own: time comes in as `now`.
"""
