"""The error that users see, and what helps them mend it."""

from __future__ import annotations

import difflib
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


def shown(text: object) -> str:
    """Text for a terminal: control characters and those that turn the direction of text are shown, not sent."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def nearest(word: str, known: Sequence[str]) -> str:
    """` (did you mean …?)` with the known word that is most like a wrong one; empty if none is like it."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
