"""What connections to clients and to upstreams share: names of headers, dates, methods.

It knows HTTP/1.1; it must not know users, rules or routes.
"""
