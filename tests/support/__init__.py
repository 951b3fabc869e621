"""Code that several folders of tests share. It contains no tests or fixtures.

clock, waiting: time and patience. wire, origin, asgi: a raw client, a scripted upstream, a caller
of ASGI applications. client_connection: the server's protocol without a socket. live, stage:
Doorward as a process. house: its pages and dialects in process; front: the whole application. core,
memory: the accounts with storage in memory. people: users and sessions to store.
"""
