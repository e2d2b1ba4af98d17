"""Races that are lost as often as a test wants, and errors that are no lost races."""

from swpt_pythonlib.flask_signalbus import DBSerializationError


class OutOfOrder(Exception):
    """An error of the application."""


class Stop(BaseException):
    """An error that is no 'Exception'."""


class Race:
    """Is lost a number of times, and then won."""

    def __init__(self, *, losses: int) -> None:
        self.losses = losses
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        if self.runs <= self.losses:
            raise DBSerializationError(f"lost race {self.runs}")
