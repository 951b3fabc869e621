"""The gate: it identifies the user, decides whether the request is allowed, and decides what goes
to the upstream.

It must not know dialects, pages or SQL; other parts render its refusals.
"""
