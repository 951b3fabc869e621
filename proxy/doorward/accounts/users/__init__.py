"""Users: finding, creating and changing them, and the rules for their names."""
