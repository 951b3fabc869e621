"""Passwords: how they are hashed, which are refused, and how often they may be guessed."""
