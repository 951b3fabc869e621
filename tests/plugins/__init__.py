"""Plugins of pytest that `make test` loads by name. They know nothing of the product."""
