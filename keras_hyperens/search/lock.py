"""One process for one search: a second one in the same directory is told so at once."""

import os
import socket
import threading
import types
from typing import Any

from keras_hyperens import files

fcntl: Any = None
try:
    import fcntl
except ImportError:  # Windows
    pass

LOCK = ".lock"
_held: set[str] = (
    set()
)  # by this process: for the system its threads are one, and one that leaves takes all locks along
_holding = threading.Lock()


class DirectoryLock:
    """A lock of a directory, which the system takes back from a process however that ends.

    An address has none, and neither has a file system that knows no locks: there it is the user who must see to it.

    Args:
        directory: Of a search.

    Raises:
        RuntimeError: If another process holds it, or another search of this one.
    """

    _name = ""  # among those that this process holds

    def __init__(self, directory: files.Path) -> None:
        self._file: Any = None
        if fcntl is None or files.is_remote(directory):
            return
        os.makedirs(directory, exist_ok=True)
        self._hold(os.path.realpath(directory))
        try:
            self._file = open(files.join(directory, LOCK), "a+")  # not "w": that would delete what the holder wrote
        except OSError:
            self.release()
            raise
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = self._holder()
            self.release()
            raise _in_use(directory, holder) from None
        except OSError:  # no locks here
            return self.release()
        self._write_holder()

    def _hold(self, name: str) -> None:
        with _holding:
            if name in _held:
                raise _in_use(name, "another search of this process")
            _held.add(name)
        self._name = name

    def _holder(self) -> str:
        self._file.seek(0)
        return self._file.read().strip() or "a process that has not said its name yet"

    def _write_holder(self) -> None:
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._file.flush()

    def release(self) -> None:
        """Gives it back; another time does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with _holding:
            _held.discard(self._name)
        self._name = ""

    def __enter__(self) -> "DirectoryLock":
        return self

    def __exit__(self, *error: types.TracebackType | Any) -> None:
        self.release()


def _in_use(directory: files.Path, holder: str) -> RuntimeError:
    return RuntimeError(
        f"Another process searches in this directory: wait for it, end it, or choose another `directory` or "
        f"`project_name`. Received: {directory}, used by {holder}"
    )
