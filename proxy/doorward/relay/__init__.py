"""How a decided request is carried to its upstream, and the answer back.

It knows connections and back-pressure; it decides nothing but whether to try again.
"""
