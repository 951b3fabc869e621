"""The records of what happened to accounts."""
