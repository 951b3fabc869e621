"""The composition root: builds the parts from the settings and joins them.

It knows every part by its constructor, and the inside of none.
"""
