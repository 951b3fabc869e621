"""Doorward: a login in front of web applications that lack one."""

__version__ = "0.1.0"
