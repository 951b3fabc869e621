"""What Doorward says of itself: logs now, metrics and audit sinks later.

Must not know who calls it.
"""
