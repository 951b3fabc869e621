"""The core: users, passwords, sessions and logins, as values and refusals.

Knows neither HTTP nor SQL nor wire formats, and has no clock of its own: the time is an argument,
`now`.
"""
