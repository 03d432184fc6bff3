"""A TCP proxy that cuts the line where a test says: before a command, or before or in its reply."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto


class Fault(Enum):
    """What happens to the lines that are open, and to those that are opened."""

    REFUSED = auto()
    """A new line is closed at once; an open one goes on."""

    BEFORE = auto()
    """What the client sends is dropped, and the line with it: the server never sees it."""

    BETWEEN = auto()
    """The server gets it, and answers; the answer is dropped, and the line with it."""

    WITHIN = auto()
    """The first half of the answer gets through; then the line is cut."""

    STALLED = auto()
    """The server gets it, and answers; the answer is kept, and the line stays open."""


class Proxy:
    """Stands between clients and the server at a loopback port; passes all on but for a fault."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.fault: Fault | None = None
        self.requests: list[bytes] = []
        """What the clients sent while there was a fault."""
        self._lines: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Have the fault for as long as the block lasts, from the next thing sent on."""
        self.requests.clear()
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    def cut(self) -> None:
        """Cut the lines that are open now."""
        lines, self._lines = self._lines, []
        for line in lines:
            _close(line)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.fault is Fault.REFUSED:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # The server is down: so is the line to it.
                client.close()
                continue
            self._lines += [client, server]
            for passing in (self._requests, self._replies):
                threading.Thread(target=passing, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):  # The other direction may have closed the line.
            while data := client.recv(65536):
                if self.fault is not None:
                    self.requests.append(data)
                if self.fault is Fault.BEFORE:
                    break
                server.sendall(data)
        _close(client, server)

    def _replies(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if self.fault is Fault.STALLED:
                    continue
                if self.fault is Fault.WITHIN:
                    client.sendall(data[: max(1, len(data) // 2)])
                if self.fault in (Fault.BETWEEN, Fault.WITHIN):
                    break
                client.sendall(data)
        _close(client, server)


def _close(*lines: socket.socket) -> None:
    for line in lines:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()
