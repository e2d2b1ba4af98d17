"""The one thing that goes wrong here."""


class ServerUnavailable(RuntimeError):
    """A database server that was asked for cannot be had; the text says why."""
