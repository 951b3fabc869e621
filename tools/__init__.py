"""What the repository is worked on with: the documentation site, screenshots, the prose linter."""
