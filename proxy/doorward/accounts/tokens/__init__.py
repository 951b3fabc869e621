"""API tokens: how programs log in. Made, found, narrowed and ended."""
