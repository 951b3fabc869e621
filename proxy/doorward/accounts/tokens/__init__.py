"""API tokens, with which programs log in."""
