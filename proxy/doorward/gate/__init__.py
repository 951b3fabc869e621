"""The gate: who is asking, may they, and what exactly goes to the upstream.

It must not know dialects, pages or SQL; what it refuses is drawn by others.
"""
