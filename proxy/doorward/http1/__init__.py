"""Code that connections to clients and to upstreams share: header names, dates, methods.

Knows HTTP/1.1; must not know users, rules or routes.
"""
