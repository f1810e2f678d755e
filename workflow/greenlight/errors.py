"""The error that users see, and what helps them mend it."""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Sequence


class UserError(Exception):
    """A mistake or a missing thing that the user can mend.

    The message stands alone: it names the file and the line or key, what was found, what was expected and what
    to do. Entry points print it without a traceback and exit with code 2.
    """


class MissingWeights(UserError):
    """Weights that are not on this machine and could not be fetched; the message says what to download to where."""


class NotAsPlanned(UserError):
    """What a trial found is not what the run was planned with: weights or code that changed meanwhile."""


_REMEDIES = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there, or have the quota raised",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "mend its permissions, or name another",
    errno.EPERM: "mend its permissions, or name another",
    errno.EEXIST: "remove it, or name another folder",
    errno.ENOENT: "make it, or name another",
    errno.ENOTDIR: "name a folder there",
    errno.EISDIR: "name a file there",
    errno.ELOOP: "remove the link",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files",
    errno.EIO: "see to the disk",
    errno.ESTALE: "see to the network file system",
}


def from_outside(error: OSError) -> bool:
    """Whether a user or the machine brings an error about; others may be ours, and their traceback is wanted."""
    if error.errno is None:  # pyarrow gives no number
        return "No space left on device" in str(error)
    return error.errno in _REMEDIES and error.errno not in (errno.ENOENT, errno.EEXIST, errno.EISDIR)


def sentence_of(error: OSError) -> str:
    """An error of the system as one sentence: what could not be read or written, why, and what to do."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = " and ".join(names) or "a file"
    remedy = _REMEDIES.get(error.errno or 0, "see to it")
    return f"{what}: {error.strerror or error}; {remedy}, then run again. Nothing that was measured is lost"


def shown(text: object) -> str:
    """Text for a terminal: control characters and those that turn the direction of text are shown, not sent."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def say(text: object) -> None:
    """Say on standard error what is at work, or wrong, as Greenlight."""
    print(f"greenlight: {shown(text)}", file=sys.stderr, flush=True)


def nearest(word: str, known: Sequence[str]) -> str:
    """` (did you mean …?)` with the known word that is most like a wrong one; empty if none is like it."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
