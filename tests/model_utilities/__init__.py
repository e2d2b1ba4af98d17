"""The class methods that every model has."""
