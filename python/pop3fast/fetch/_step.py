"""Step: whether the replies of a session still belong to their commands.

Owns how that is found out. Never guesses: what shows nothing is an error.
"""

from pop3fast import POP3, CommandError, ProtocolError, error_proto


def check_step(pop: POP3, messages: int) -> None:
    """Make sure that replies still belong to their commands. Raises `ProtocolError` when they do not.

    When a message has forged a reply, each reply since was taken for that of the next command, and the last one is
    still to come (quirk q96). STAT has to give the number of *messages*. When it does not, two NOOPs, one after the
    other, find the reply that is left over. It may be a refusal; then NOOP gets the reply to STAT.
    """
    try:
        if pop.stat()[0] == messages:
            return
    except ProtocolError:
        raise
    except error_proto:
        pass
    for _ in range(2):
        try:
            answer = pop.noop()
        except CommandError:
            continue  # a server without NOOP, which is a reply as well
        number, octets = (*answer.split()[1:3], b"", b"")[:2]
        if number == b"%d" % messages and octets.isdigit():
            raise ProtocolError("NOOP got the reply to STAT")
