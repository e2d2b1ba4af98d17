"""What the tests use together: models, a broker, rivals, and tables of facts."""
