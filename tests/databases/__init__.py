"""What differs between databases: errors, isolation, how transactions begin."""
