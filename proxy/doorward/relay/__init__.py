"""Forwards a decided request to its upstream, and the answer back.

It knows connections and back-pressure; it decides only whether to try again.
"""
