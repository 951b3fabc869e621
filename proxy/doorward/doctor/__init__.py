"""The doctor: checks an installation from outside, and reports problems and how to fix them.

It changes nothing, and must not know how requests are served.
"""
