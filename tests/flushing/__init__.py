"""What a flush does: alone, beside others, and by the command line."""
