"""Hypothesis strategies for transcripts that conform to RFC 1939, or that poplib and pop3fast at least agree on.

Owns what a server may send. What the two modules treat differently on purpose (`DIFFERENCES` in `test_parity.py`) is
kept out here, and nothing else.
"""

import re

from hypothesis import strategies as st

from transcripts.player import Step

# Line ends and NULs are left out of a line's text; they are put where a server may put them.
texts = st.binary(max_size=40).map(lambda octets: octets.translate(None, b"\r\n\0"))
line_ends = st.sampled_from([b"\r\n", b"\n"])
positives = st.builds(
    lambda indicator, text: indicator + text,
    st.sampled_from([b"+OK", b"+ok", b"+"]),
    # What a server means by "+OK -ERR" is no matter of chance: test_parity.py has it by name.
    st.just(b"") | texts.filter(lambda text: not text.strip().startswith(b"-ERR")).map(lambda text: b" " + text),
)
negatives = st.builds(
    lambda indicator, text: indicator + text,
    st.sampled_from([b"-ERR", b"-err", b"-ERR [IN-USE]", b"-"]),
    st.just(b"") | texts.map(lambda text: b" " + text),
)
numbers = st.integers(min_value=0, max_value=2**40)
arguments = st.integers(min_value=-1, max_value=2**33) | st.sampled_from(["1", "07", "0", "all of them"])
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)

# Everything that framing could trip over is frequent here, the ordinary is not.
fragments = st.sampled_from([b".", b"..", b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"+OK", b" ", b"a", b"", b"x" * 1500])


@st.composite
def bodies(draw: st.DrawFn, line_end: bytes) -> bytes:
    """Make what a server sends for a message: its lines stuffed, and the termination octet."""
    message: bytes = b"".join(draw(st.lists(fragments, max_size=30)))
    if line_end == b"\n":
        message = message.replace(b"\r\n", b"\n")
        # In a reply of this convention every LF ends a line.
        message = re.sub(rb"(^|\n)\.", rb"\1..", message)
    else:
        # DIFFERENCES: the end of a message is found by the reply's own line convention.
        message = re.sub(rb"(?<!\r)\n\.", b"\n,", message)
        message = re.sub(rb"(^|\r\n)\.", rb"\1..", message)
    # DIFFERENCES: a CR at the start of a line hides the dots behind it.
    message = re.sub(rb"(^|\n)\r\.", b"\\1\r,", message)
    if message and not message.endswith(line_end):
        message += line_end
    return message + b"." + line_end


@st.composite
def long_replies(draw: st.DrawFn) -> bytes:
    """Make a multi-line response, or a refusal."""
    line_end = draw(line_ends)
    if draw(st.integers(0, 9)) == 0:
        status: bytes = draw(negatives)
        return status + line_end
    status = draw(positives)
    return status + line_end + draw(bodies(line_end))


@st.composite
def capability_replies(draw: st.DrawFn) -> bytes:
    """Make a reply to CAPA that poplib can read: no blank line, no name twice, nothing but ASCII."""
    line_end = draw(line_ends)
    name = st.text("ABCXYZ-0", min_size=1, max_size=6)
    capabilities = draw(st.dictionaries(name, st.lists(st.text("abcxyz09=/", min_size=1, max_size=6), max_size=3)))
    lines = [" ".join([name, *words]).encode() + line_end for name, words in capabilities.items()]
    return b"+OK" + line_end + b"".join(lines) + b"." + line_end


short_replies = st.builds(lambda status, line_end: status + line_end, positives | negatives, line_ends)
stat_replies = st.builds(
    lambda count, octets, rest, line_end: b"+OK %d %d%b%b" % (count, octets, rest, line_end),
    numbers,
    numbers | st.just(-1391823145),
    st.sampled_from([b"", b" ", b" (2 messages)"]),
    line_ends,
)
greetings = st.builds(
    lambda text, stamp, rest, line_end: b"+OK" + text + stamp + rest + line_end,
    texts.map(lambda text: b" " + text.translate(None, b"<>")),
    st.sampled_from([b"", b"<1896.697170952@dbc.mtview.ca.us>", b"<timestamp>"]),
    texts.map(lambda text: text.translate(None, b"<>")),
    line_ends,
)


def steps_of(
    replies: st.SearchStrategy[bytes], method: str, *args: st.SearchStrategy[object]
) -> st.SearchStrategy[Step]:
    return st.builds(Step, replies, st.just(method), st.tuples(*args))


any_steps = st.one_of(
    steps_of(short_replies, "user", words),
    steps_of(short_replies, "pass_", words),
    steps_of(short_replies, "apop", words, words),
    steps_of(short_replies, "rpop", words),
    steps_of(stat_replies, "stat"),
    steps_of(long_replies(), "list"),
    steps_of(short_replies, "list", arguments),
    steps_of(long_replies(), "retr", arguments),
    steps_of(long_replies(), "retr", arguments),
    steps_of(long_replies(), "top", arguments, arguments),
    steps_of(short_replies, "dele", arguments),
    steps_of(short_replies, "noop"),
    steps_of(short_replies, "rset"),
    steps_of(long_replies(), "uidl"),
    steps_of(short_replies, "uidl", arguments),
    steps_of(short_replies, "utf8"),
    steps_of(capability_replies() | negatives.map(lambda status: status + b"\r\n"), "capa"),
    steps_of(short_replies, "_shortcmd", words.map("XTND ".__add__)),
    steps_of(long_replies(), "_longcmd", words.map("XTND ".__add__)),
)
pieces_of_any_size = st.lists(st.integers(1, 5) | st.integers(1, 4000), max_size=5)
debug_levels = st.sampled_from([0, 0, 0, 1, 2])
