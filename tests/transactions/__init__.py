"""Atomic blocks, and what makes them start over."""
