"""Doorward: a login in front of web applications that lack one."""

__version__ = "0.2.0"
