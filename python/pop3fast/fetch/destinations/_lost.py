"""What it means that a server which takes mail is lost. Owns nothing but the word for it."""


class LostError(Exception):
    """The connection is of no use any more, for the reason that this says."""
