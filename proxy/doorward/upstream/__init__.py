"""Connections to the applications behind Doorward: one exchange at a time, streamed both ways.

Must not know users, rules or how the answer reaches the client.
"""
