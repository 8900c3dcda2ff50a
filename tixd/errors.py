"""Every exception of tixd, by where the fault is: operator, input, volume, broker, tixd itself.

The first paragraph of a class's docstring is its message: what happened and what the operator
does. The argument adds what it happened to. Imports no other module of tixd.
"""

from __future__ import annotations

import inspect


class TixdError(Exception):
    """Something went wrong in tixd."""

    #: Whether the detail alone is a complete message: it says what to do.
    is_complete = False

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        """Put the detail first, because it differs; then the meaning, unless that is said."""
        if self.detail and self.is_complete:
            return self.detail
        paragraph = (inspect.getdoc(type(self)) or "").split("\n\n")[0].replace("\n", " ")
        return f"{self.detail}: {paragraph}" if self.detail else paragraph


# --- operator: what was asked for cannot be done -------------------------------------------------


class OperatorError(TixdError):
    """tixd cannot do what was asked."""

    exit_code = 2


class ConfigError(OperatorError):
    """The configuration is wrong; correct the named setting and start again.

    The detail has one problem a line, and each names its remedy.
    """

    is_complete = True


class CannotStart(OperatorError):
    """tixd cannot start; correct this, then start it again."""

    exit_code = 3
    is_complete = True


class NotRunning(OperatorError):
    """No tixd answers here; start it, or ask as the user it runs as, or as root."""

    exit_code = 1


class NotDone(OperatorError):
    """The running tixd could not do what was asked."""

    exit_code = 1
    is_complete = True


class Unusable(NotDone):
    """Something that the role needs cannot be used; fix what is named and try again."""


class BadTable(OperatorError):
    """The AS table cannot be used; replace it with another (tixd asn build makes one)."""

    exit_code = 1


class BadSource(OperatorError):
    """No AS table was made; correct what is named and build again."""

    exit_code = 1


class TableRefused(OperatorError):
    """The table was not put in place and nothing changed; check its sources."""

    exit_code = 1


# --- input: a report or a kept result is not what it must be ------------------------------------


class InputError(TixdError):
    """A file does not hold what it should."""


class BadReport(InputError):
    """The report cannot be used; it is set aside in bad-reports, with the reason."""


class BadFailedResult(InputError):
    """The kept result cannot be read; it is moved to failed-results/rejected."""


class BadArchive(InputError):
    """The file is not a .tar.gz archive, or is damaged; what comes before the damage is used."""


class NotAnArchive(BadArchive):
    """The file is of another kind, which the message names, with what to name instead."""

    is_complete = True


class BadDescription(InputError):
    """The description.yml states no truth; give it connection_speed and experiment."""


class BadMessage(InputError):
    """A message between tixd's processes is malformed; parent and worker differ in version."""


class BadTask(InputError):
    """The message is not a task for tixd; it lies in the queue tixd.dead with this reason."""


class BadRequest(InputError):
    """The collector cannot take the request; its sender must correct what the answer names.

    `status` is that of the HTTP answer and `answer` its text; `at`: where in the bundle the record
    begins that is wrong, if it is one.
    """

    status = 400
    doing = "handling request"

    def __init__(self, detail: str = "", at: int | None = None) -> None:
        super().__init__(detail if at is None else f"{detail} at byte {at}")
        self.at = at

    @property
    def answer(self) -> str:
        """The body of the HTTP answer."""
        return f"Error {self.doing}: {self.detail}"


class MalformedBundle(BadRequest):
    """The bundle is malformed; its sender must correct what is named."""


class BadRecord(BadRequest):
    """A usage record is wrong, so its bundle is refused; the sender must correct it."""

    doing = "processing record"


class OverLimit(BadRequest):
    """The request exceeds a limit; send less, or raise the limit that the answer names."""

    status = 413


# --- volume: the disk under the reports ----------------------------------------------------------


class VolumeError(TixdError):
    """The reports volume failed; see the kernel's log."""


class DiskFull(VolumeError):
    """No space is left on the reports volume; free some, tixd continues by itself."""


class QuotaReached(DiskFull):
    """The quota of tixd's user is used up; raise it or free space, tixd continues by itself."""


class FolderFull(VolumeError):
    """The folder can hold no more entries; remove some, tixd continues by itself."""


class ReadOnlyVolume(VolumeError):
    """The reports volume is read-only; mount it writable, tixd continues by itself."""


class NotPermitted(VolumeError):
    """tixd may not touch this file or folder; give its user the right (owner and mode)."""


class Immutable(NotPermitted):
    """The file system forbids it; look for an immutable flag (lsattr, chattr -i) and its owner."""


class JournalNotPermitted(NotPermitted):
    """Without its journal tixd posts nothing here; chown the file to tixd's user, or delete it."""


class NotDeleted(NotPermitted):
    """Too many files cannot be deleted; give tixd's user the right to delete in the folder."""


class NotFound(VolumeError):
    """The file or folder is not there; it was moved or deleted."""


class ReportsGone(NotFound):
    """The reports folder is gone; mount or restore it."""

    is_complete = True


class UnexpectedFileType(VolumeError):
    """It is a link, or not the kind of file that belongs here; tixd ignores it, remove it."""


class TooLong(VolumeError):
    """The file is longer than any that tixd writes under this name; tixd ignores it."""


class NameTooLong(VolumeError):
    """The file system takes no name of this length; rename the file, or remove it."""


class OtherVolume(VolumeError):
    """A file cannot be moved to another volume; unmount what is mounted below the installation."""


class FileSizeLimit(VolumeError):
    """A limit on file sizes forbids it; raise LimitFSIZE= of the unit (ulimit -f)."""


class NoDescriptors(VolumeError):
    """No file descriptor is left; raise LimitNOFILE= of the unit (ulimit -n)."""


class NoMemory(VolumeError):
    """The kernel has no memory left; give the host or the container more."""


class NoLocks(VolumeError):
    """The volume has no locks; mount it with them (NFS: a lock service, or local_lock=flock)."""


class VolumeFailed(VolumeError):
    """The file system refused it; see the kernel's log."""


class DiskFailed(VolumeFailed):
    """The reports volume answers with an input/output error; check the disk or the mount."""


class StaleMount(VolumeFailed):
    """The server of the volume does not answer, or has forgotten the mount; mount it again."""


class Locked(VolumeError):
    """Another process works on this installation; nothing to do."""


# --- broker: RabbitMQ, or the network on the way to it ------------------------------------------


class BrokerError(TixdError):
    """RabbitMQ did not do what tixd needs; see its log."""


class BrokerUnavailable(BrokerError):
    """No connection to RabbitMQ; check that it runs, tixd tries again by itself."""


class BrokerRejected(BrokerError):
    """RabbitMQ refuses; check user, password, rights, virtual host and certificates."""


class NotDeclared(BrokerError):
    """RabbitMQ has no queue or exchange of this name; tixd declares what is its own."""


class QueueLocked(BrokerError):
    """Another connection has the exclusive use of this queue; nothing to do."""


class MessageReturned(BrokerError):
    """RabbitMQ returned the message; bind or declare a queue, nothing is lost."""


class MessageRefused(BrokerError):
    """RabbitMQ refused the message; nothing is lost, check whether its queue is full."""


# --- collector: beside bad bundles, what an HTTP request can run into ----------------------------


class RequestTimeout(BadRequest):
    """The request did not arrive in time; its sender repeats it."""

    status = 408


class WrongType(BadRequest):
    """The content type or encoding of the request is not taken; its sender must correct it."""

    status = 415


class TooLargeForOutput(BadRecord):
    """A usage record is larger than an output takes; leave it out, or raise the limit named."""


class Unavailable(TixdError):
    """The collector cannot accept the bundle now; the sender repeats it.

    Reasons: memory is short; a sink is not ready (asked again before each part); too many bundles
    are in progress; a large one made room for a small one; it was not processed in time; a sink
    failed, or did not confirm in time. `status` and `answer` are those of the HTTP answer.
    """

    status = 503
    answer = "Service unavailable right now"


# --- tixd itself --------------------------------------------------------------------------------


class InternalError(TixdError):
    """A mistake in tixd itself; please report it with the log around it."""
