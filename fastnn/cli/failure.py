"""How a command says that it cannot go on."""


class Failure(Exception):
    """A command cannot go on; the text is the one line that the user sees."""
