"""The one exception a user is meant to read."""


class UserError(ValueError):
    """Bad input, said in one line that names the remedy.

    The command line prints it without a traceback and exits with code 2. Library
    callers can catch it as a `ValueError`.
    """


class MissingFile(UserError):
    """A file that an artefact needs is not there."""


class CorruptFile(UserError):
    """A file does not have the content that its checksum promises."""
