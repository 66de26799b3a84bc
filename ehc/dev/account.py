"""Who an embedded server runs as, and the private folder for its socket.

PostgreSQL refuses to run as root. As root (containers, build machines) it is run as whoever owns the project, else as
`postgres`, else `nobody`; and where that user could not get at the project or the virtual environment, as in a clone
under /root, it is given the one capability to pass through closed folders. None of those folders is opened to others.
"""

import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ehc.dev.process import Account, DevServerError, ourselves

# no_setuid_fixup: without it access(2), which PostgreSQL's programs ask before they run one another, leaves the
# capability out of account
_PASS_THROUGH = (
    "--clear-groups",
    "--securebits=+no_setuid_fixup",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
)


def account_for(data_dir: Path, *, needs: Iterable[Path]) -> Account:
    """The account for a server that may not be root and must reach `needs`. Raises `DevServerError` without one."""
    if os.geteuid() != 0:
        if data_dir.exists() and data_dir.stat().st_uid != os.geteuid():
            raise DevServerError(f"{data_dir} belongs to another user, {_name_of(data_dir.stat().st_uid)}")
        return ourselves()
    uid, gid = _unprivileged(data_dir)
    closed = [path for path in needs if not _reachable(path, uid, gid)]
    if not closed:
        return Account(uid, gid, switch=True)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise DevServerError(
            f"PostgreSQL cannot run as root, and user {_name_of(uid)} cannot reach {closed[0]}: "
            "install setpriv (util-linux), or run this as an ordinary user, or move the project out of a closed folder"
        )
    return Account(uid, gid, prefix=(setpriv, f"--reuid={uid}", f"--regid={gid}", *_PASS_THROUGH, "--"))


def give_tree(folder: Path, account: Account) -> None:
    """Make root's own copy of a data folder the account's. Does nothing unless we are root and root owns the folder."""
    if os.geteuid() != 0 or folder.stat().st_uid != 0:
        return
    for path, _, files in os.walk(folder):
        for name in ("", *files):
            os.chown(os.path.join(path, name), account.uid, account.gid, follow_symlinks=False)


def private_folder(name: str, account: Account) -> Path:
    """An empty folder for a socket, short enough for its path (104 bytes on macOS), that only the account can enter.

    Raises `DevServerError` when another user has put something in its place.
    """
    base = tempfile.gettempdir()
    # short, and free of what an URL or a list of folders would need quotes for
    plain = re.fullmatch(r"[A-Za-z0-9_./+-]{1,50}", base)
    folder = Path(base if plain else "/tmp") / f"{name}-{account.uid}"  # noqa: S108 - whose it is is checked below
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        found = folder.lstat()
        ours = found.st_uid in {account.uid, os.geteuid()} and stat.S_IMODE(found.st_mode) & 0o077 == 0
        if not (stat.S_ISDIR(found.st_mode) and ours):
            raise DevServerError(f"{folder} is in the way and not ours alone; remove it or set TMPDIR") from None
        shutil.rmtree(folder)
        folder.mkdir(0o700)
    os.chown(folder, account.uid, account.gid)
    return folder


def _unprivileged(data_dir: Path) -> tuple[int, int]:
    for folder in (data_dir, data_dir.parent):
        # a user without an entry in passwd can run a server, but initdb refuses to work for one
        if folder.exists() and (owner := folder.stat()).st_uid != 0 and (folder == data_dir or _known(owner.st_uid)):
            return owner.st_uid, owner.st_gid
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    raise DevServerError("PostgreSQL cannot run as root, and this machine has neither a user postgres nor nobody")


def _known(uid: int) -> bool:
    return any(user.pw_uid == uid for user in pwd.getpwall())


def _name_of(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _known(uid) else str(uid)


def _reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether mode bits alone let the user read `path` and pass all folders above it."""
    return _allowed(path, uid, gid, 0o5) and all(_allowed(folder, uid, gid, 0o1) for folder in path.parents)


def _allowed(path: Path, uid: int, gid: int, wanted: int) -> bool:
    found = path.stat()
    shift = 6 if found.st_uid == uid else 3 if found.st_gid == gid else 0
    return (found.st_mode >> shift) & wanted == wanted
