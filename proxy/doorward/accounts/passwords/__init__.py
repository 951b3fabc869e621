"""Passwords: hashing, rules for new ones, and limits on guessing."""
