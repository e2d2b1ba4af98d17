"""What is a signal model, and in which ways it can be defined."""
