"""What one call of a user does: several stages in a row."""
