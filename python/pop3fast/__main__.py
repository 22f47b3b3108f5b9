"""`python -m pop3fast` is `pop3fast`."""

import sys

from pop3fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
