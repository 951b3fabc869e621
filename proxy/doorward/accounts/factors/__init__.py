"""Second factors: authenticator apps, mailed codes, recovery codes, remembered browsers."""
