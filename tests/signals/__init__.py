"""What is a signal model, and what can be one."""
