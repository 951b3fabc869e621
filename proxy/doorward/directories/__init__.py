"""Sources of users besides the database: the configuration file, htpasswd files, and imports.

It knows how each describes its users; it must not know sessions.
"""
