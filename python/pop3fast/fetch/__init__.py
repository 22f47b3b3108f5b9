"""From a maildrop to a Maildir, an mbox or a folder of files: nothing lost, nothing twice.

`fetch_mailbox` does it all for one account, `fetch_many` for many. A destination makes messages durable and says which
are; a state remembers them; `import_seen` takes over what another program remembered. POSIX only.
"""

from pop3fast.fetch._errors import (
    AccountBusy,
    DestinationError,
    FetchError,
    SecretError,
    SeenFileError,
    StateError,
    TaskLost,
    UidsChanged,
    UidsUnknown,
)
from pop3fast.fetch._fetch_many import fetch_many
from pop3fast.fetch._identity import Entry, Identity, ReadBack, account_digest
from pop3fast.fetch._options import Options
from pop3fast.fetch._report import FetchReport, Named, Progress, exit_status
from pop3fast.fetch._retrying import Job, fetch_mailbox
from pop3fast.fetch._takeover import import_seen
from pop3fast.fetch.accounts._account import Account
from pop3fast.fetch.destinations._destination import Delivery, Destination, default_path, open_destination
from pop3fast.fetch.memory._fingerprint import fingerprint
from pop3fast.fetch.memory._import_seen import read_seen
from pop3fast.fetch.memory._seen import Remembered, Seen
from pop3fast.fetch.memory._state import AccountState, State

__all__ = [
    "Account",
    "AccountBusy",
    "AccountState",
    "Delivery",
    "Destination",
    "DestinationError",
    "Entry",
    "FetchError",
    "FetchReport",
    "Identity",
    "Job",
    "Named",
    "Options",
    "Progress",
    "ReadBack",
    "Remembered",
    "SecretError",
    "Seen",
    "SeenFileError",
    "State",
    "StateError",
    "TaskLost",
    "UidsChanged",
    "UidsUnknown",
    "account_digest",
    "default_path",
    "exit_status",
    "fetch_mailbox",
    "fetch_many",
    "fingerprint",
    "import_seen",
    "open_destination",
    "read_seen",
]
