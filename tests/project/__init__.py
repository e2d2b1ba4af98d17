"""The project itself: its pages, its examples, and the matrix of databases."""
