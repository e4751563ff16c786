"""Who runs a task, as this machine knows him."""

import os
import pwd

from coldchain.model.errors import Rejected
from coldchain.runners.process.settings import ProcessSettings
from coldchain.runners.process.specification import User


def find_user(wanted: str | None, settings: ProcessSettings) -> User:
    """The app's `user`, or the one the settings name. Raises Rejected. Blocks."""
    own = os.geteuid()
    name = wanted or (settings.user if own == 0 else None)
    try:
        entry = pwd.getpwuid(own) if name is None else pwd.getpwnam(name)
    except KeyError:
        raise Rejected(
            f"this machine has no user {name or own}", todo="Make it (`useradd --system`) or name another in `user`"
        ) from None
    if own not in (0, entry.pw_uid):
        raise Rejected(
            f"only root can start a task as {entry.pw_name}", todo="Run `coldchain up` as root, or leave `user` out"
        )
    if entry.pw_uid == 0 and not settings.root_allowed:
        raise Rejected(
            "a task that runs as root could change everything on the machine, Coldchain included",
            todo="Name another `user`, or start `coldchain up --allow-root-tasks`",
        )
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))
