"""Tools for the repository: the documentation site, screenshots, the prose linter."""
