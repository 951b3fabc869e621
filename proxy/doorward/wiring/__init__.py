"""The composition root: builds the parts from the settings and joins them.

Knows the constructor of every part; must not know how any of them works.
"""
