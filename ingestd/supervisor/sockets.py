"""The daemon's sockets: inherited from systemd or bound here, kept open as long as the daemon runs.

They belong to the supervisor and are passed to workers by number, so that what the kernel has queued outlives a worker,
and no UDP flow changes its socket.
"""

import contextlib
import errno
import grp
import logging
import os
import pwd
import socket
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import psutil

from ingestd.client.address import Address
from ingestd.config.model import Config, Listener
from ingestd.config.plan import ADMIN_NAME, own_path, shard_path
from ingestd.errors import ConfigurationError, Fault, HostError, HostResourceInUseError

logger = logging.getLogger(__name__)

LISTEN_FDS_FIRST: Final = 3
NOBODY: Final = -2
BACKLOG: Final = 1024
_RETRY_MS: Final = 50
_SO_RCVBUFFORCE: Final = 33
_SO_RXQ_OVFL: Final = 40
_SO_MEMINFO: Final = 55
_SO_MEMINFO_WORDS: Final = 9
"""The last one counts drops (linux/sock_diag.h)."""
_SO_PEERCRED_BYTES: Final = 12
_UNIX_QUEUE: Final = Path("/proc/sys/net/unix/max_dgram_qlen")
UNIX_QUEUE_GOOD: Final = 512
"""What systemd makes of the kernel's 10 (its src/core/main.c, bump_unix_max_dgram_qlen)."""

Role = Literal["shared", "own", "datagram", "admin"]


@dataclass(frozen=True)
class Bound:
    """A socket and who reads it: ``worker`` -1 means all of them. ``path`` empty: an IP socket. ``ours``: bound here.

    The admin process's has neither a listener nor a worker (NOBODY).
    """

    listener: int
    role: Role
    worker: int
    socket: socket.socket
    path: str
    ours: bool
    inode: int = 0


def parse_listen_fds(environ: Mapping[str, str], pid: int) -> dict[str, list[int]]:
    """Descriptors passed by systemd, by FileDescriptorName (sd_listen_fds_with_names(3)); empty if not for us."""
    try:
        if int(environ.get("LISTEN_PID", "0")) != pid:
            return {}
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    inherited: dict[str, list[int]] = {}
    for position in range(count):
        name = names[position] if position < len(names) and names[position] else "unknown"
        inherited.setdefault(name, []).append(LISTEN_FDS_FIRST + position)
    return inherited


def check_names(inherited: Mapping[str, Sequence[int]], listeners: Sequence[Listener], admin: bool = False) -> None:
    """A socket that nobody claims would swallow what is sent to it: ConfigurationError names every one.

    ``admin``: ``admin.listen`` claims one.
    """
    known = {listener.name for listener in listeners} | ({ADMIN_NAME} if admin else set())
    cure = "Set FileDescriptorName= in the socket unit to the name of a listener: " + ", ".join(sorted(known))
    faults = [
        Fault("FileDescriptorName", name, "no listener has this name", cure) for name in inherited if name not in known
    ]
    if faults:
        raise ConfigurationError(faults)


def _check_kinds(inherited: Mapping[str, Sequence[int]]) -> None:
    """A unit may listen on what is no socket at all (ListenFIFO= and others): ConfigurationError names every one."""
    cure = "Give the socket unit only ListenStream= or ListenDatagram=."
    faults = [
        Fault("FileDescriptorName", name, "what systemd hands over is not a socket", cure)
        for name, descriptors in inherited.items()
        if not all(stat.S_ISSOCK(os.fstat(descriptor).st_mode) for descriptor in descriptors)
    ]
    if faults:
        raise ConfigurationError(faults)


class Patience:
    """What is in use may be a dying predecessor's: its workers let go one after another. ``until_ms`` is for all."""

    def __init__(self, wait_ms: int) -> None:
        self._until_ms = time.monotonic_ns() // 1_000_000 + wait_ms

    def bind(self, bind: Callable[[], Bound]) -> Bound:
        """What ``bind`` returns, once nobody else has it; HostResourceInUseError names who keeps it."""
        waiting = False
        while True:
            # Before the try: an answer from before the end says nothing of now if we did not run in between.
            tried_ms = time.monotonic_ns() // 1_000_000
            try:
                return bind()
            except HostResourceInUseError as error:
                if tried_ms >= self._until_ms:
                    raise
                if not waiting:
                    waiting = True
                    logger.info("waiting: %s", error)
            time.sleep(_RETRY_MS / 1000)


def bind_all(config: Config, inherited: Mapping[str, Sequence[int]], *, wait_ms: int = 0) -> list[Bound]:
    """Every socket of the configuration, in listener order; what was bound is closed again when one cannot be had.

    Waits up to ``wait_ms`` in all for paths and ports to be let go.
    """
    check_names(inherited, config.listeners, config.daemon.admin_listen is not None)
    _check_kinds(inherited)
    bound: list[Bound] = []
    try:
        for entry in _sockets(config, inherited, Patience(wait_ms)):
            bound.append(entry)
    except BaseException:
        close_all(bound)
        raise
    return bound


def _sockets(config: Config, inherited: Mapping[str, Sequence[int]], patience: Patience) -> Iterator[Bound]:
    """Each as soon as it is there: whoever takes them knows what to close when the next one cannot be had."""
    workers = config.daemon.workers
    datagram_paths = 0
    for index, listener in enumerate(config.listeners):
        descriptors = inherited.get(listener.name, ())
        match listener.address.kind:
            case "unix-stream":
                yield from _stream_sockets(patience, index, listener, workers, descriptors)
            case "unix-datagram":
                yield from _datagram_sockets(patience, index, listener, workers, datagram_paths, descriptors)
                datagram_paths += listener.shards
            case "udp":
                yield from _udp_sockets(patience, index, listener, workers, descriptors)


def queue_warning(listeners: Sequence[Listener], queue: str) -> str | None:
    """What to tell of a short queue of Unix datagram sockets; ``queue`` is the kernel's setting, as text.

    A sender to a full queue stands until the worker has read, and each wakes the other for a few datagrams.
    """
    names = [listener.name for listener in listeners if listener.address.kind == "unix-datagram"]
    if not names or not queue.strip().isdigit() or int(queue) >= UNIX_QUEUE_GOOD:
        return None
    return (
        f"net.unix.max_dgram_qlen = {queue.strip()}: senders to {', '.join(names)} wait as soon as so many datagrams"
        f" are queued; set it to {UNIX_QUEUE_GOOD}, as systemd does, before the sockets are made"
    )


def warn_of_short_queues(listeners: Sequence[Listener]) -> None:
    """Logs :func:`queue_warning`; says nothing where the kernel's setting cannot be read (ProcSubset=pid)."""
    with contextlib.suppress(OSError):
        if warning := queue_warning(listeners, _UNIX_QUEUE.read_text()):
            logger.warning("%s", warning)


def drop_counts(bound: Sequence[Bound], worker: int) -> list[int]:
    """What the kernel has dropped on the datagram sockets of ``worker``, in their order."""
    counts = []
    for entry in bound:
        if entry.role == "datagram" and entry.worker == worker:
            words = entry.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _SO_MEMINFO_WORDS * 4)
            counts.append(int.from_bytes(words[-4:], "little") if len(words) == _SO_MEMINFO_WORDS * 4 else 0)
    return counts


def close_all(bound: Sequence[Bound]) -> None:
    """Ends all listening; socket files that are still ours go, those of systemd stay."""
    for entry in bound:
        if entry.ours and entry.path:
            with contextlib.suppress(OSError):
                if os.lstat(entry.path).st_ino == entry.inode:
                    os.unlink(entry.path)  # noqa: PTH108 (a socket path, not a pathlib one)
        entry.socket.close()


def _stream_sockets(
    patience: Patience, index: int, listener: Listener, workers: int, descriptors: Sequence[int]
) -> Iterator[Bound]:
    path = listener.address.path
    if len(descriptors) > 1:
        raise _wrong_socket(listener, "two sockets of this name; a Unix stream listener has one path")
    if descriptors:
        yield _adopt(index, listener, "shared", -1, descriptors[0], path)
    else:
        yield patience.bind(partial(_bind_unix, index, listener, "shared", -1, path))
    if listener.format == "frames":
        for worker in range(workers):
            yield patience.bind(partial(_bind_unix, index, listener, "own", worker, own_path(path, worker)))


def _datagram_sockets(
    patience: Patience, index: int, listener: Listener, workers: int, paths_before: int, descriptors: Sequence[int]
) -> Iterator[Bound]:
    paths = [shard_path(listener.address.path, shard, listener.shards) for shard in range(listener.shards)]
    by_path = {local_path(descriptor): descriptor for descriptor in descriptors}
    for shard, path in enumerate(paths):
        worker = (paths_before + shard) % workers
        descriptor = by_path.pop(path, None)
        if descriptor is None:
            entry = patience.bind(partial(_bind_unix, index, listener, "datagram", worker, path))
        else:
            entry = _adopt(index, listener, "datagram", worker, descriptor, path)
        yield entry
        _set_receive_buffer(entry.socket, listener)
    if by_path:
        raise _wrong_socket(listener, "bound to " + ", ".join(sorted(by_path)) + " instead of " + ", ".join(paths))


def _udp_sockets(
    patience: Patience, index: int, listener: Listener, workers: int, descriptors: Sequence[int]
) -> Iterator[Bound]:
    for number in range(len(descriptors) or workers):
        if descriptors:
            entry = _adopt(index, listener, "datagram", number % workers, descriptors[number], "")
        else:
            entry = patience.bind(partial(_bind_udp, index, listener, number))
        yield entry
        _set_receive_buffer(entry.socket, listener)
        # The kernel's count of datagrams it had no room for comes along with the datagrams (socket(7)).
        entry.socket.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)


def _resolve(address: Address) -> tuple[int, tuple[str, int]]:
    """Family and numeric address of a UDP listener; a name is looked up once, at start."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise HostError(f"cannot find the host of {address}: {error.strerror}") from error
    family, _, _, _, where = found[0]
    return family, (str(where[0]), int(where[1]))


def _expected(address: Address) -> tuple[int, int]:
    """Family and type that a socket for ``address`` has."""
    if address.kind == "udp":
        return _resolve(address)[0], socket.SOCK_DGRAM
    return socket.AF_UNIX, socket.SOCK_STREAM if address.kind == "unix-stream" else socket.SOCK_DGRAM


def local_path(descriptor: int) -> str:
    with socket.socket(fileno=os.dup(descriptor)) as adopted:
        name = adopted.getsockname()
    return os.fsdecode(name) if isinstance(name, str | bytes) else str(name)


def adopt(
    descriptor: int,
    families: Collection[int],
    kind: int,
    path: str,
    port: int,
    wrong: Callable[[str], ConfigurationError],
) -> socket.socket:
    """An inherited socket, if it is what is expected: bound to ``path``, or without one to ``port``.

    Else it is closed, and what ``wrong`` makes of the reason is raised.
    """
    adopted = socket.socket(fileno=descriptor)
    try:
        if adopted.family not in families or adopted.type != kind:
            raise wrong(f"an inherited socket of another kind ({adopted.family!r}, {adopted.type!r})")
        if kind == socket.SOCK_STREAM and not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise wrong("an inherited socket that does not listen (Accept=no is needed)")
        if path and local_path(descriptor) != path:
            raise wrong(f"an inherited socket bound to {local_path(descriptor)}")
        if not path and adopted.getsockname()[1] != port:
            raise wrong(f"an inherited socket bound to port {adopted.getsockname()[1]}")
    except BaseException:
        adopted.close()
        raise
    adopted.set_inheritable(False)
    adopted.setblocking(False)
    return adopted


def _adopt(index: int, listener: Listener, role: Role, worker: int, descriptor: int, path: str) -> Bound:
    family, kind = _expected(listener.address)
    adopted = adopt(descriptor, (family,), kind, path, listener.address.port, partial(_wrong_socket, listener))
    return Bound(index, role, worker, adopted, path, ours=False)


def _wrong_socket(listener: Listener, text: str) -> ConfigurationError:
    cure = f"Make the socket unit listen on {listener.address}, or change the listener."
    return ConfigurationError([Fault(f"listeners.{listener.name}.listen", str(listener.address), text, cure)])


def _bind_unix(index: int, listener: Listener, role: Role, worker: int, path: str) -> Bound:
    kind = socket.SOCK_STREAM if listener.address.kind == "unix-stream" else socket.SOCK_DGRAM
    fresh = bind_path(path, kind, listener.mode, partial(_set_owner, path, listener))
    return Bound(index, role, worker, fresh, path, ours=True, inode=os.lstat(path).st_ino)


def _cure_of(error_number: int | None, folder: Path) -> str:
    if error_number == errno.ENOENT:
        return f": make the directory {folder}, writable for uid {os.geteuid()} (systemd: RuntimeDirectory=)"
    if error_number == errno.EACCES:
        return f": make {folder} writable for uid {os.geteuid()}, or choose another path"
    return ""


def bind_path(path: str, kind: socket.SocketKind, mode: int, give: Callable[[], None] = lambda: None) -> socket.socket:
    """A Unix socket on ``path``, a stale one replaced; ``give`` sets its owner. HostError when it cannot be had."""
    remove_stale(path, kind)
    fresh = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    # Nobody may connect before mode and owner are what was asked for.
    umask = os.umask(0o777)
    try:
        fresh.bind(path)
    except OSError as error:
        fresh.close()
        raise HostError(f"cannot bind {path}: {error.strerror}{_cure_of(error.errno, Path(path).parent)}") from error
    finally:
        os.umask(umask)
    try:
        give()
        os.chmod(path, mode)  # noqa: PTH101
        if kind == socket.SOCK_STREAM:
            fresh.listen(BACKLOG)
        return fresh
    except BaseException:
        fresh.close()
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
        raise


def _set_owner(path: str, listener: Listener) -> None:
    if listener.owner is None and listener.group is None:
        return
    faults = []
    uid = gid = -1
    try:
        uid = pwd.getpwnam(listener.owner).pw_uid if listener.owner is not None else -1
    except KeyError:
        cure = "Create the user or name another one."
        faults.append(Fault(f"listeners.{listener.name}.owner", str(listener.owner), "no such user", cure))
    try:
        gid = grp.getgrnam(listener.group).gr_gid if listener.group is not None else -1
    except KeyError:
        cure = "Create the group or name another one."
        faults.append(Fault(f"listeners.{listener.name}.group", str(listener.group), "no such group", cure))
    if faults:
        raise ConfigurationError(faults)
    try:
        os.chown(path, uid, gid, follow_symlinks=False)
    except OSError as error:
        asked = f"{listener.owner or ''}:{listener.group or ''}"
        denied = isinstance(error, PermissionError)
        why = "only root, or a member of that group, may" if denied else error.strerror
        raise HostError(f"cannot give {path} to {asked}: {why}") from error


def remove_stale(path: str, kind: int) -> None:
    """Unlinks a socket file that nobody is bound to; a live one, or what is no socket, is an error and stays."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise HostError(f"{path} exists and is not a socket: move it away or choose another path")
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
            raise HostResourceInUseError(path, _peer_pid(probe) or _bound_pid(path))
        except ConnectionRefusedError:
            pass
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise HostError(f"{path} belongs to somebody else (uid {found.st_uid}): choose another path") from error
        except OSError as error:
            # EPROTOTYPE: live, of the other kind; EAGAIN: live, its backlog is full.
            raise HostResourceInUseError(path, _bound_pid(path)) from error
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError as error:
        raise HostError(f"cannot replace the stale socket {path}: {error.strerror}") from error
    logger.info("replaced a stale socket: %s", path)


def _peer_pid(probe: socket.socket) -> int:
    """Who listens at the other end of a stream; 0 for datagram sockets, which have no such memory."""
    credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED_BYTES)
    return max(int.from_bytes(credentials[:4], "little", signed=True), 0)


def _bound_pid(path: str) -> int:
    """Who holds the socket bound to ``path``, as far as /proc shows it to us; else 0."""
    with contextlib.suppress(psutil.Error, OSError):
        for entry in psutil.net_connections(kind="unix"):
            if str(entry.laddr) == path and entry.pid:
                return int(entry.pid)
    return 0


def _bind_udp(index: int, listener: Listener, worker: int) -> Bound:
    family, where = _resolve(listener.address)
    if worker == 0:
        # Without SO_REUSEPORT first: another daemon of the same user must not share our flows unnoticed.
        _udp_socket(listener.address, family, where, reuse_port=False).close()
    fresh = _udp_socket(listener.address, family, where, reuse_port=True)
    return Bound(index, "datagram", worker, fresh, "", ours=True)


def _udp_socket(address: Address, family: int, where: tuple[str, int], *, reuse_port: bool) -> socket.socket:
    fresh = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
        fresh.bind(where)
    except PermissionError as error:
        fresh.close()
        raise HostError(f"cannot bind {address}: ports below 1024 come from a socket unit") from error
    except OSError as error:
        fresh.close()
        if error.errno == errno.EADDRINUSE:
            raise HostResourceInUseError(str(address), port_pid("udp", where)) from error
        raise HostError(f"cannot bind {address}: {error.strerror}") from error
    return fresh


def port_pid(kind: str, where: tuple[str, int]) -> int:
    """Who holds the port of ``kind`` (udp, tcp), as far as /proc shows it to us; else 0."""
    with contextlib.suppress(psutil.Error, OSError):
        for entry in psutil.net_connections(kind=kind):
            if entry.laddr and entry.laddr.port == where[1] and entry.pid and not entry.raddr:
                return int(entry.pid)
    return 0


def _set_receive_buffer(target: socket.socket, listener: Listener) -> None:
    wanted_bytes = listener.receive_buffer_bytes
    if wanted_bytes is None:
        return
    try:
        target.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted_bytes)
    except OSError:
        target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
    # The kernel doubles what is asked for, for its own bookkeeping, and reports the double (socket(7)).
    got_bytes = target.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    if got_bytes < wanted_bytes:
        logger.warning(
            "listener %s: receive_buffer_bytes = %d was capped to %d by the kernel; raise net.core.rmem_max",
            listener.name,
            wanted_bytes,
            got_bytes,
        )
