"""Starts the guest book that comes with Doorward; its source is proxy/doorward/cli/guestbook.py."""

from doorward.cli.guestbook import main

main()
