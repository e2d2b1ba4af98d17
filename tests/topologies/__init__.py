"""What holds where one server is not enough; each module is a cell of its own."""
