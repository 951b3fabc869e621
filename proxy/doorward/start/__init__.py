"""The process of `doorward serve`: its checks, its start, its exit status. It must not know how the
command line is read, or how a request is served.

A server keeps what it loads, so nothing here, or below it, loads the libraries of commands.
"""
