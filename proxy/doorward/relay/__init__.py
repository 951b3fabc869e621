"""How a decided request is carried to its upstream, and the answer back.

It knows connections and back-pressure; it decides only whether to try again.
"""
