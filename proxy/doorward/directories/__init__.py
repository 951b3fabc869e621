"""Where users come from besides the database: the configuration file (later: htpasswd, LDAP).

It knows how each describes its users and nothing of their sessions.
"""
