"""Where a secret could be seen, and what of it is too much: for the tests that look for leaks."""

import pickle
import traceback
from collections.abc import Iterable, Iterator

# Eight characters of a secret are too many already.
HINT = 8


def hints(text: str, secrets: Iterable[str]) -> list[str]:
    """Return the parts of *secrets* that are in *text*; base64 that was made upper case is still a hint."""
    lower = text.lower()
    parts = (secret[start : start + HINT] for secret in secrets for start in range(0, len(secret) - HINT, HINT))
    return [part for part in parts if part.lower() in lower]


def everything_in(error: BaseException) -> Iterator[str]:
    """Everything that can be read off an exception, its causes and contexts included."""
    yield str(error)
    yield repr(error)
    yield repr(error.args)
    yield repr(vars(error))
    yield "".join(traceback.format_exception(error))
    yield pickle.dumps(error).decode("latin-1")
    for name in ("object", "response", "command"):
        yield repr(getattr(error, name, None))
    for behind in (error.__cause__, error.__context__):
        if behind is not None:
            yield from everything_in(behind)
