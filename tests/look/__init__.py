"""Tests that look at the pages of the documentation in a real browser."""
