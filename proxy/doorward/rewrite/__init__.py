"""The heads that are forwarded: of requests to an upstream, and of its answers to a client.

It makes bytes from the gate's decision; it must not know connections.
"""
