"""What several folders of tests use, each once. Nothing here is a test or a fixture.

clock, waiting: time and patience. wire, origin, asgi: a raw client, a scripted upstream, a caller
of ASGI applications. client_connection: the server's protocol without a socket. live, stage:
Doorward as a process. house: its pages and dialects in process; front: the whole application. core,
memory: the accounts over storage in memory. people: users and sessions to store.
"""
