"""Where paths that another host names lie on this one; pure.

In: tasks, the sender's base and the own one, which are the same volume. Out: paths under the own
base. Rules: a path is the base, or a user's installation in it, step by step; whatever else
(`..` too) is BadTask, and nothing outside the base is ever touched for a message.
"""

from __future__ import annotations

from tixd.errors import BadTask
from tixd.queues.celery_message import RunInstallation, RunUsers, shown


def local_path(task: RunInstallation, sender_base: str, base: str) -> str:
    """Where this host finds the installation that the sender sees at `task.path`.

    The path must be `<base>/<user>/<installation>` under the sender's base or the own one, but for
    repeated and trailing slashes; raises BadTask.
    """
    inside = (str(task.user_id), str(task.installation_id))
    if _steps(task.path) not in [(*_steps(b), *inside) for b in (sender_base, base)]:
        raise BadTask(f"{shown(task.path)} is not the folder of {'/'.join(inside)} under the base")
    return "/".join((base.rstrip("/"), *inside))


def local_base(task: RunUsers, sender_base: str, base: str) -> str:
    """The base of this host, where the task names it or the sender's; raises BadTask."""
    if _steps(task.base) not in (_steps(sender_base), _steps(base)):
        raise BadTask(f"{shown(task.base)} is not the base")
    return base


def _steps(path: str) -> tuple[str, ...]:
    """A path step by step; an absolute one begins with an empty step."""
    return ("",) * path.startswith("/") + tuple(step for step in path.split("/") if step)
