"""The boundary of a results folder: nothing is written, deleted or truncated through a link that leaves it.

Outputs are replaced by renaming, which spares what a link points to; but a folder that is a link, or a file that is
opened to be written, leads out. So a run, and each job, looks before it writes. Pipes, sockets and devices are refused
as well: reading one may never end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from greenlight.errors import UserError

# Folders whose contents only compilers and trials read, each under a name of its own; they are made anew, not followed.
_LEAVES = ("cache", "archive")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_results(root: Path) -> None:
    """UserError where something below a results folder leads out of it, or is no file or folder."""
    inside = root.resolve()
    for entry in _entries(root):
        _check(entry.path, entry.stat(follow_symlinks=False).st_mode, inside)


def check_paths(root: Path, paths: Iterable[Path]) -> None:
    """UserError where one of some paths, or a folder on the way to it, leads out of the results folder."""
    inside = root.resolve()
    seen: set[Path] = set()
    for path in paths:
        way = [part for part in (path, *path.parents) if part.is_relative_to(root) and part != root]
        for part in reversed(way):  # from the outside in: what lies behind a pipe or a loop can't be looked at
            if part in seen:
                continue
            seen.add(part)
            try:
                _check(str(part), os.lstat(part).st_mode, inside)
            except (FileNotFoundError, NotADirectoryError):
                break


def open_lock(path: Path, write: bool = True) -> int:
    """A descriptor of a lock file, made where it is missing; never what a link points to.

    Raises:
        UserError: it is a link, no regular file, or another user's.
    """
    how = (os.O_RDWR | os.O_CREAT) if write else os.O_RDONLY
    try:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(_refusal(str(path), f"a link to {os.readlink(path)}")) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(
                f"results_folder: {path} belongs to {_owner(path)} and can't be opened by "
                f"{os.environ.get('USER', os.geteuid())}; expected a folder that both may write to. Set umask 002 for "
                "both and give the folder to a group that both are in, or set results_folder to another"
            ) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(_refusal(str(path), "no regular file"))
    return descriptor


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every link, special file and folder below a folder; folders that lead nowhere else are walked."""
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                entries = list(found)
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _LEAVES:
                    waiting.append(entry.path)
            elif entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                yield entry


def _check(path: str, mode: int, inside: Path) -> None:
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise UserError(_refusal(path, kind))
    if stat.S_ISLNK(mode):
        try:
            os.stat(path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UserError(_refusal(path, f"a link to {os.readlink(path)}, which leads in a circle")) from None
        target = Path(os.path.realpath(path))
        if target != inside and inside not in target.parents:
            raise UserError(_refusal(path, f"a link to {os.readlink(path)}, outside of the results folder"))


def _refusal(path: str, what: str) -> str:
    return (
        f"results_folder: {path} is {what}; expected files and folders of the results folder itself, because results "
        f"are written, emptied and deleted there. Remove {path}, or set results_folder to the folder that is meant"
    )


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (OSError, KeyError):
        return "another user"
