"""Which compile caches this user made: kept outside of the results folder, which may have come from somebody else.

A compile cache holds shared libraries and pickles, so that whoever writes it runs code in the trials that start from
it. A run therefore uses only caches whose content it has written down itself, in a folder of the user's own:
`$GREENLIGHT_STATE`, else `$XDG_STATE_HOME/greenlight`, else `~/.local/state/greenlight`. Any other is compiled anew.
A copy of the results under another path, by the same user, is as good as the results.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from greenlight.errors import UserError

STATE = "GREENLIGHT_STATE"
_DIGEST = re.compile(r"[0-9a-f]{16,64}")


def remember(digest: str) -> None:
    """Write down that this user made a cache of this content; UserError where there is no place for it."""
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _own(folder):
            raise PermissionError(13, "another user may write to it", str(folder))
        (folder / digest).touch(mode=0o600)
    except OSError as error:
        raise UserError(
            f"{folder}: what this user compiled can't be written down there ({error.strerror or error}); expected a "
            f"folder that only this user can write to. Set {STATE} to one, on a cluster to one that all nodes share"
        ) from None


def made_by_this_user(digest: object) -> bool:
    """Whether this user has made a cache of this content."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return False
    folder = _folder()
    return (folder / digest).is_file() and _own(folder)


def _folder() -> Path:
    own = os.environ.get(STATE)
    if own:
        return Path(own).expanduser() / "caches"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path("~/.local/state").expanduser()) / "greenlight" / "caches"


def _own(folder: Path) -> bool:
    found = folder.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022
