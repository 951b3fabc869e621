"""What pages and dialects share: endpoints, forms, the session service, return addresses.

It knows requests and answers; it must not know any page or dialect.
"""
