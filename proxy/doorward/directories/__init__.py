"""Where users come from besides the database: the configuration file (later: htpasswd, LDAP).

It knows how each describes its users; it must not know sessions.
"""
