"""The gate: which user asks, whether that is allowed, and what exactly goes to the upstream.

It must not know dialects, pages or SQL; what it refuses is drawn by others.
"""
