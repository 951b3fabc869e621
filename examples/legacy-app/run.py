"""Starts the guest book that comes with Doorward; its source is proxy/cli/guestbook.py."""

from proxy.cli.guestbook import main

main()
