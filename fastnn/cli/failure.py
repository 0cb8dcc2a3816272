"""How a command says that it cannot go on."""

INTERRUPTED = 130  # the exit status that shells give to Ctrl-C


class Failure(Exception):
    """A command cannot go on; the text is the one line that the user sees, `status` the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status
