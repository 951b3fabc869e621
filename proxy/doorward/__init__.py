"""Doorward: a login in front of web applications that lack one."""

__version__ = "0.3.0.dev0"
