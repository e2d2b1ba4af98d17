"""What this package knows of each database."""
