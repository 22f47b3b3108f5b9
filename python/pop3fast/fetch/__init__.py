"""From a maildrop to a Maildir, an mbox or a folder of files: nothing lost, nothing twice.

`fetch_mailbox` does it all for one account, `fetch_many` for many. A destination makes messages durable and says which
are; a state remembers them; `import_seen` takes over what another program remembered. POSIX only.
"""

from pop3fast.fetch._errors import (
    AccountBusy,
    DestinationError,
    FetchError,
    MessageDeferred,
    MessageError,
    MessageRefused,
    SecretError,
    SeenFileError,
    StateError,
    TaskLost,
    UidsChanged,
    UidsUnknown,
)
from pop3fast.fetch._every import fetch_every
from pop3fast.fetch._fetch_many import fetch_many
from pop3fast.fetch._identity import Entry, Identity, ReadBack, account_digest
from pop3fast.fetch._options import Options
from pop3fast.fetch._processing import process_mailbox, process_many
from pop3fast.fetch._report import Beginning, Delivered, FetchReport, Named, Progress, exit_status
from pop3fast.fetch._retrying import Job, fetch_mailbox
from pop3fast.fetch._takeover import begin_from_now, import_seen
from pop3fast.fetch.accounts._account import Account
from pop3fast.fetch.destinations._destination import Delivery, Destination
from pop3fast.fetch.destinations._handler import HandledMessage
from pop3fast.fetch.destinations._kinds import default_path, destination_forms, open_destination
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._simple import SimpleDestination
from pop3fast.fetch.fleet._fleet import fetch_fleet
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._fingerprint import fingerprint
from pop3fast.fetch.memory._import_seen import read_seen
from pop3fast.fetch.memory._seen import Remembered, Seen
from pop3fast.fetch.memory._state import State
from pop3fast.fetch.memory._state_status import account_status
from pop3fast.fetch.memory._status import AccountStatus

__all__ = [
    "Account",
    "AccountBusy",
    "AccountState",
    "AccountStatus",
    "Beginning",
    "Delivered",
    "Delivery",
    "Destination",
    "DestinationError",
    "Entry",
    "FetchError",
    "FetchReport",
    "HandledMessage",
    "Identity",
    "Job",
    "MessageDeferred",
    "MessageError",
    "MessageRefused",
    "Named",
    "Options",
    "OutgoingMessage",
    "Particulars",
    "Progress",
    "ReadBack",
    "Remembered",
    "SecretError",
    "Seen",
    "SeenFileError",
    "SimpleDestination",
    "State",
    "StateError",
    "TaskLost",
    "UidsChanged",
    "UidsUnknown",
    "account_digest",
    "account_status",
    "begin_from_now",
    "default_path",
    "destination_forms",
    "exit_status",
    "fetch_every",
    "fetch_fleet",
    "fetch_mailbox",
    "fetch_many",
    "fingerprint",
    "import_seen",
    "open_destination",
    "process_mailbox",
    "process_many",
    "read_seen",
]
