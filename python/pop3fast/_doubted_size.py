"""DoubtedSize: the reply whose size was not that of LIST, where all before it had theirs.

Owns what is believed when that message has been asked for again, with nothing else in flight. LIST is wrong where the
reply is as large as the first one. Otherwise the first one was the reply to another command, and a reply too many is on
its way: it may come only behind the next command, so that nothing was left over. Never waits, and never sees a command.
"""

from pop3fast._batch import WrongSize
from pop3fast._errors import ProtocolError
from pop3fast._proof import Proof

WRONG_SIZE = "the size of a reply was not that of LIST, although all had been before it"


class DoubtedSize:
    """The first size of one connection for which what was in flight was thrown away."""

    def __init__(self, proof: Proof) -> None:
        """Begin without a doubt; *proof* hears when LIST was wrong."""
        self._proof = proof
        self._first: WrongSize | None = None

    def note(self, wrong: WrongSize) -> None:
        """Doubt what was *wrong*, unless something was before it."""
        self._first = self._first or wrong

    def weigh_alone(self, number: int, wrong: WrongSize | None) -> None:
        """Decide what a reply to message *number* shows that was alone in flight, and *wrong* or not.

        Raises `ProtocolError` where it shows that replies do not belong to their commands.
        """
        first = self._first
        if first is None or (number != first.number and wrong is None):
            return
        if wrong is None or wrong[1:] != first[1:]:
            raise ProtocolError(f"{WRONG_SIZE}, and when it was asked for alone it had another")
        self._first = None
        self._proof.wrong_size()
