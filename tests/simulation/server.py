"""A POP3 server with the ways of the field, good and bad.

Owns a maildrop (`Maildrop`) and one dialogue with it (`Dialogue`). What a maildrop's ways are is drawn once, when in a
session it misbehaves each time anew. It knows nothing of pop3fast: octets come in, octets go out.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from .mails import FAR, PLAIN_SIZES, Mail, Senders, text_of
from .world import SEVERAL, World

FIRST_NUMBER = 10_000
"""Where unique-ids begin that are counted."""

MANY = 1_000_000
"""Where they begin on a server that has several sessions with one maildrop: numbers that no server gives again."""

ODD_IDS = (b"../../etc/%d", b".%d", b"%d;rm", b"\xe9\x80%d", b"%d:2,S")

SIZES = ("exact",) * 8 + ("LF",) * 3 + ("estimated",) * 3 + ("zero", "refused")
"""What LIST says."""


class Maildrop:
    """The messages of one mailbox on a server."""

    def __init__(self, world: World, senders: Senders, name: str, kind: str) -> None:
        self.world = world
        self.senders = senders
        self.name = name
        self.kind = kind
        """The kind of the destination that its messages go to."""
        self.mails: list[Mail] = []
        """What it holds, in the order of arrival."""
        self.ever: list[Mail] = []
        self.sized = "huge" if world.chance("huge sizes") else world.rng.choice(SIZES)
        self.pipelines = "no pipelining" not in world.features or world.rng.random() < 0.5
        if SEVERAL in world.features:
            self.pipelines = False
        self.tops = not world.chance("top is refused")
        self.id_is_number = world.chance("unique-ids that are numbers", 0.8)
        # Where unique-ids are numbers, what is left out of a listing gives its own to another message.
        self.steady = self.id_is_number
        self.newest_first = world.chance("newest first", 0.8) and not self.steady
        self.window = world.rng.randint(1, 4) if world.chance("windows", 0.9) and not self.steady else 0
        self.window_of_newest = world.rng.random() < 0.5
        self.deaf_to_dele = world.chance("deaf to dele", 0.8)
        self.headers_only = world.chance("headers only", 0.7) and self.tops
        # Where sizes are not exact nothing tells that a message ended early.
        self.stuffs = self.sized != "exact" or not world.chance("dots are not stuffed", 0.9)
        self.login_delay = world.rng.choice((1, 10, 90)) if world.chance("login delay") else 0
        self.codes = world.rng.random() < 0.5
        self.locked_until = 0.0
        several = SEVERAL in world.features
        self.first_number = MANY if several else FIRST_NUMBER
        self.most_sessions = world.rng.choice((1, 2, 9, 9)) if several else 1
        self.inside: list[Dialogue] = []
        """The sessions that are logged in."""
        self.shown_whole: set[int] = set()
        """Which messages came whole: what they show of the sizes that are listed."""
        self.numbered: list[Mail] = []
        """What the last session listed."""
        self.leavers: list[Mail] = []
        """Messages that are gone, and whose unique-ids may be given to others."""

    def arrive(self) -> Mail:
        """Deliver a new message to it."""
        world = self.world
        content = None
        if self.ever and world.chance("alike", 0.4):
            content = world.rng.choice(self.ever).content
        if content is None:
            if not self.stuffs and world.chance("dots are not stuffed", 0.4):
                return self._arrived(self.senders.forging())
            equal = "identical sizes" in world.features and world.rng.random() < 0.8
            content = self.senders.content(size=world.rng.choice(PLAIN_SIZES) if equal else None)
        return self._arrived(content)

    def _arrived(self, content: bytes) -> Mail:
        mail = self._new(content, b"")
        self._name(mail)
        if any(each.content == content for each in self.ever if each is not mail) and (
            self.id_is_number or any(each.uid == mail.uid for each in self.ever if each is not mail)
        ):
            mail.may_miss = mail.may_repeat = "it is alike to another message, and its unique-id tells nothing"
        self.mails.append(mail)
        self.world.say(f"{self.name}: arrived {mail}")
        return mail

    def replace(self, mail: Mail) -> None:
        """Have somebody else delete a message and another one come in its place, under the same unique-id."""
        content = self.senders.content(size=len(mail.content) if self.world.rng.random() < 0.3 else None)
        new = self._new(content, mail.uid)
        mail.gone = "others"
        self._take_over(new, mail)
        self.mails[self.mails.index(mail)] = new
        self.world.say(f"{self.name}: others replaced {mail} by {new}")

    def remove(self, mail: Mail, who: str) -> None:
        """Take a message away."""
        self.mails.remove(mail)
        mail.gone = who
        self.leavers.append(mail)
        if who != "fetch" and self.id_is_number:
            for each in self.mails:
                each.may_miss = "others deleted, and so its unique-id was another message's"
        self.world.say(f"{self.name}: {who} deleted {mail}")

    def listed_size(self, mail: Mail) -> int:
        """Return the octets that LIST shows of a message."""
        match self.sized:
            case "exact":
                return len(mail.content)
            case "LF":
                return len(text_of(mail.content, "mbox"))
            case "estimated":
                return mail.listed_size
            case "huge":
                return 2**63 + len(mail.content)
            case _:
                return 0

    def view(self) -> list[Mail]:
        """Return what a session lists, in its order."""
        world = self.world
        shown = list(self.mails)
        if self.steady:
            return shown
        if self.window and not world.calm:
            shown = shown[-self.window :] if self.window_of_newest else shown[: self.window]
        if world.chance("listings that are empty", 0.15):
            world.say(f"{self.name}: lists nothing in this session")
            shown = []
        elif shown and world.chance("listings that are short", 0.2):
            lacking = world.rng.choice(shown)
            world.say(f"{self.name}: lists all but {lacking} in this session")
            shown.remove(lacking)
        return shown[::-1] if self.newest_first else shown

    def note_numbers(self, shown: list[Mail]) -> None:
        """Note which message has which number, where nothing but its size tells that it was another one's before."""
        for before, mail in zip(self.numbered, shown, strict=False):
            alike = self.sized == "huge" or self.listed_size(before) == self.listed_size(mail)
            if before is not mail and alike:
                mail.may_miss = f"it has the number and the size of {before}"
        self.numbered = shown

    def _new(self, content: bytes, uid: bytes) -> Mail:
        rng = self.world.rng
        delivered = header_of(content) if self.headers_only else content
        mail = Mail(len(self.senders.all), content, uid, text_of(delivered, self.kind))
        mail.listed_size = max(1, len(content) + rng.randint(-20, 20))
        mail.last_listed = self.world.clock.time
        if self.id_is_number:
            mail.may_repeat = "its unique-id is a message number"
            mail.may_miss = ""
        if not self.stuffs and not self.headers_only and (b"\r\n" + content).find(b"\r\n.") >= 0:
            mail.may_miss = "the server lets a dot end it, or takes one away"
        self.senders.all.append(mail)
        self.ever.append(mail)
        return mail

    def _name(self, mail: Mail) -> None:
        """Give a message its unique-id."""
        world = self.world
        if self.leavers and world.chance("unique-ids again", 0.7):
            self._take_over(mail, self.leavers.pop(world.rng.randrange(len(self.leavers))))
        elif self.mails and world.chance("unique-ids repeated", 0.3):
            mail.uid = world.rng.choice(self.mails).uid
        elif world.chance("unique-ids missing", 0.5):
            mail.uid = b""
        elif world.chance("unlasting unique-ids", 0.2):
            mail.uid = b"ENOMEM-%d" % mail.key
        else:
            mail.uid = world.rng.choice((b"%d", b"%d", b"%d", *ODD_IDS)) % (self.first_number + mail.key)

    def _take_over(self, mail: Mail, leaver: Mail) -> None:
        mail.uid = leaver.uid
        size = self.listed_size(mail)
        alike = not size or self.sized == "huge" or size == self.listed_size(leaver)
        again = any(each.content == mail.content for each in self.ever if each is not mail)
        if again or not self.tops or (alike and leaver.gone != "fetch"):
            # Nothing tells them apart, or nobody can ask.
            mail.may_miss = f"it has the unique-id of {leaver}"


ENDINGS = {"kills", "power cuts", "stops", "hang-ups", "silence", "disk errors", "full disk"}
"""What ends a session early."""

EARLY = {"small limits", "delays"}
"""What has messages remembered before a session shows that replies were in step. Far ends take one after the other."""

Deleted = Callable[[Maildrop, list[Mail]], object]


class Dialogue:
    """One connection to a server, seen from the server."""

    def __init__(self, world: World, maildrop: Maildrop, deleted: Deleted) -> None:
        self.world = world
        self.maildrop = maildrop
        self.out = bytearray(b"+OK ready\r\n")
        self.closing = False
        self.logged_in = False
        self.is_further = False
        """Whether another session was logged in when this one began."""
        self.shown: list[Mail] = []
        self.sent_whole: list[Mail] = []
        """The messages that RETR gave."""
        self.sent_short = 0
        self.removed: list[Mail] = []
        self.is_out_of_step = False
        self._late: bytes | None = None
        """The last reply, where it comes with the next command."""
        self.listed_badly = False
        """Whether UIDL or LIST lacked a message."""
        self._deleted = deleted
        self._ids: list[bytes] = []
        self._marked: set[int] = set()
        self._rest = b""

    def receive(self, octets: bytes) -> None:
        """Take what a client sent."""
        *lines, self._rest = (self._rest + octets).split(b"\r\n")
        if self.world.chance("one command a read", 1.0) and self.maildrop.pipelines:
            lines = lines[:1]
        for line in lines:
            if self.closing:
                return
            verb, _, argument = line.partition(b" ")
            late = self._late
            reply = self._answer(verb.upper(), argument)
            self.world.say(f"  {line.decode('latin-1')} -> {_short(reply)}")
            if late is None:
                self.out += reply
            else:
                self.out += late
                self._late = reply

    def hang_up(self) -> None:
        """Wait no longer for a client that says nothing."""
        self.closing = True
        self.end()

    def end(self) -> None:
        """Be left by the client."""
        if self in self.maildrop.inside:
            self.maildrop.inside.remove(self)

    def send_late(self) -> None:
        """Send what was to come with the next command: the client waits, and gives none."""
        self.out += self._late or b""
        self._late = None

    def _answer(self, verb: bytes, argument: bytes) -> bytes:  # noqa: C901, PLR0911 - a command each
        if not self.logged_in:
            return self._before_login(verb)
        number = int(argument.split()[0]) if argument[:1].isdigit() else 0
        mail = self.shown[number - 1] if 0 < number <= len(self.shown) else None
        match verb:
            case b"CAPA":
                return self._capabilities()
            case b"STAT":
                return b"+OK %d %d\r\n" % (len(self.shown), sum(map(self.maildrop.listed_size, self.shown)))
            case b"UIDL":
                return self._list(iter(self._ids))
            case b"LIST":
                if self.maildrop.sized == "refused":
                    return b"-ERR not today\r\n"
                return self._list(b"%d" % self.maildrop.listed_size(mail) for mail in self.shown)
            case b"RETR" | b"TOP":
                return self._message(verb, mail)
            case b"DELE":
                if mail is None or self.world.chance("refusals", 0.1):
                    return b"-ERR no\r\n"
                mail.marked += number not in self._marked
                self._marked.add(number)
                return b"+OK\r\n"
            case b"QUIT":
                return self._quit()
        return b"+OK\r\n" if verb in {b"NOOP", b"RSET"} else b"-ERR what?\r\n"

    def _before_login(self, verb: bytes) -> bytes:
        world, drop = self.world, self.maildrop
        if verb == b"CAPA":
            return self._capabilities()
        if verb != b"PASS":
            return b"+OK\r\n"
        if world.clock.time < drop.locked_until:
            return b"-ERR [LOGIN-DELAY] too early\r\n" if drop.codes else b"-ERR login delay: too early\r\n"
        if world.chance("in use", 0.2):
            return b"-ERR [IN-USE] another session\r\n" if drop.codes else b"-ERR mailbox is locked\r\n"
        if drop.inside and len(drop.inside) >= drop.most_sessions:
            return b"-ERR [IN-USE] too many\r\n" if drop.codes else b"-ERR too many connections\r\n"
        self._log_in()
        return b"+OK\r\n"

    def _log_in(self) -> None:
        world, drop = self.world, self.maildrop
        self.is_further = bool(drop.inside)
        self.logged_in = True
        drop.inside.append(self)
        world.sessions += 1
        drop.locked_until = world.clock.time + (0 if world.calm else drop.login_delay)
        self.shown = drop.view()
        if drop.id_is_number and not drop.tops:
            drop.note_numbers(self.shown)
        for number, mail in enumerate(self.shown, 1):
            if drop.id_is_number:
                mail.uid = b"%d" % number
            elif mail.uid.startswith(b"ENOMEM-"):
                lasting = world.rng.random() < 0.3
                mail.uid = b"%s%d" % (b"" if lasting else b"ENOMEM-", world.rng.randrange(10**9))
                mail.may_repeat = "its unique-id did not last"
                mail.uid_changes = True
            mail.last_listed = world.clock.time
        self._ids = [mail.uid for mail in self.shown]
        if not drop.stuffs:
            self._excuse_doubt()

    def _capabilities(self) -> bytes:
        lines = [b"TOP", b"UIDL"]
        if self.maildrop.pipelines:
            lines.append(b"PIPELINING")
        if self.maildrop.login_delay:
            lines.append(b"LOGIN-DELAY %d" % self.maildrop.login_delay)
        return b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"

    def _list(self, texts: Iterator[bytes]) -> bytes:
        lines = [b"%d %s\r\n" % (number, text) for number, text in enumerate(texts, 1)]
        if lines and not self.maildrop.steady and self.world.chance("listings that are short", 0.1):
            # So that one of the two listings lacks what the other has.
            lines.pop(self.world.rng.randrange(len(lines)))
            self.listed_badly = True
        return b"+OK\r\n" + b"".join(lines) + b".\r\n"

    def _message(self, verb: bytes, mail: Mail | None) -> bytes:
        if mail is None or (mail.refused and not self.world.calm) or mail.gone:
            return b"-ERR no such message\r\n"
        content = mail.content
        if verb == b"TOP":
            if not self.maildrop.tops:
                return b"-ERR no TOP\r\n"
            content = header_of(content)
            if self.maildrop.headers_only:
                self.sent_whole.append(mail)
        elif mail.short and not self.world.calm:
            lines = content.splitlines(keepends=True)
            content = b"".join(lines[: self.world.rng.randrange(len(lines))])
            mail.came_short = True
            self.sent_short += 1
            if not self.maildrop.stuffs:
                mail.may_miss = "sizes look like estimates where the server takes dots away"
        else:
            self.sent_whole.append(mail)
            self.maildrop.shown_whole.add(mail.key)
        if self.maildrop.stuffs:
            content = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        reply = b"+OK\r\n" + content + b".\r\n"
        if not self._comes_twice(verb):
            return reply
        if "late replies" not in self.world.features:
            return reply * 2
        self._late = reply
        return reply

    def _alike_in_size(self) -> list[Mail]:
        sizes = Counter(self.maildrop.listed_size(mail) for mail in self.shown)
        return [mail for mail in self.shown if sizes[self.maildrop.listed_size(mail)] > 1]

    def _excuse_doubt(self) -> None:
        """Note what may come once more, because replies get out of step in this session and its size shows nothing."""
        if self.world.features & EARLY or self.maildrop.kind in FAR:
            # Until a late one is seen to be left over, a wrong size proves nothing where sizes may be estimates.
            late = "late replies" in self.world.features
            for mail in self.shown if late else self._alike_in_size():
                mail.may_repeat = "its size does not show that it came before a reply that was one too many"

    def _comes_twice(self, verb: bytes) -> bool:
        """Return whether a reply comes twice, so that each one behind it is taken for that of the next command.

        Once in a session. Where messages have the same size, what was remembered before anybody could know comes once
        more; and nobody may ever know when the session, or the process, ends before the last reply but by its own end.
        """
        world, drop = self.world, self.maildrop
        if verb != b"RETR" or drop.sized != "exact" or self.is_out_of_step or not world.chance("out of step", 0.1):
            return False
        early = world.features & {*EARLY, "late replies"} or drop.kind in FAR
        if self._alike_in_size() and early and world.features & ENDINGS:
            return False
        self._excuse_doubt()
        self.is_out_of_step = True
        return True

    def _quit(self) -> bytes:
        world, drop = self.world, self.maildrop
        marked = [self.shown[number - 1] for number in sorted(self._marked)]
        how = (
            world.rng.choice(("nothing", "in part", "hang up", "commit and hang up"))
            if world.chance("quit fails")
            else ""
        )
        if how == "in part":
            marked = marked[: world.rng.randint(0, len(marked))]
        elif how in {"nothing", "hang up"} or drop.deaf_to_dele:
            marked = []
        self._deleted(drop, marked)
        for mail in marked:
            if not mail.gone:
                drop.remove(mail, "fetch")
        self.removed = marked
        self.closing = True
        if how in {"nothing", "in part"} and self._marked:
            return b"-ERR some deleted messages not removed\r\n"
        if "hang up" in how:
            return b""
        return b"+OK bye\r\n"


def header_of(content: bytes) -> bytes:
    """Return the header of *content*, with the empty line behind it, if there is one."""
    header, empty, _ = content.partition(b"\r\n\r\n")
    return header + empty


def _short(reply: bytes) -> str:
    first, _, rest = reply.partition(b"\r\n")
    lines = rest.count(b"\r\n")
    return first.decode("latin-1") + (f" and {lines} lines" if lines else "")
