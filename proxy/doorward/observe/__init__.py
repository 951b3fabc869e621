"""What Doorward reports about itself: logs, metrics and audit sinks.

Must not know its callers.
"""
