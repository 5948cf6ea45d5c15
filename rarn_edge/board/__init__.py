"""What is carried to the board or the server: a folder or zip that needs nothing of this package."""
