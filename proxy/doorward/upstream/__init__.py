"""Connections to the applications behind Doorward: one exchange at a time, streamed both ways.

Must not know users, rules or who carries the answer to the client.
"""
