"""`python -m pop3fast` is `pop3fast`."""

import sys

if __name__ == "__main__":
    try:
        from pop3fast.cli import main

        sys.exit(main())
    except KeyboardInterrupt:
        # Before `main` has begun: loading it takes long enough for that.
        sys.exit(130)
