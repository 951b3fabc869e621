"""Sessions: logins that open them, tokens that name them, and what is live in memory."""
