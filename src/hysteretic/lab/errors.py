"""What can the person at the terminal mend? Raised for that, shown without a traceback."""


class UsageError(ValueError):
    """The command or its settings are wrong; the message says what was found and what to do."""
