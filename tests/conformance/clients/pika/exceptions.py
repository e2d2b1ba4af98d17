class AMQPConnectionError(Exception):
    pass


class UnroutableError(Exception):
    def __init__(self, messages: list[object]) -> None:
        super().__init__(f"{len(messages)} unroutable messages")


class NackError(Exception):
    def __init__(self, messages: list[object]) -> None:
        super().__init__(f"{len(messages)} messages were not acknowledged")
