"""The heads that are sent on: of requests to an upstream, and of its answers to a client.

It makes bytes of what the gate decided; it must not know connections.
"""
