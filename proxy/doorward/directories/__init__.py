"""Where users come from beside the database: the configuration file (later: htpasswd, LDAP).

It knows how each describes its users and nothing of their sessions.
"""
