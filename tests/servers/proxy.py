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


class _Line:
    """A line from a client to the server, by way of the proxy, and the fault that it has met."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.fault: Fault | None = None

    def cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Stands between clients and the server at a loopback port; passes all on but for a fault."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.fault: Fault | None = None
        self.requests: list[bytes] = []
        """What the clients sent while there was a fault, or since one was to strike."""
        self._recording = False
        self._strike: tuple[Fault, int] | None = None
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
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

    def strike(self, fault: Fault, after: int = 0) -> None:
        """Have the fault for the next thing sent, after so many others, and for that line alone.

        So what is sent again gets through.
        """
        self.requests.clear()
        self._strike, self._recording = (fault, after), True

    def cut(self) -> None:
        """Cut the lines that are open now."""
        lines, self._lines = self._lines, []
        for line in lines:
            line.cut()

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
            line = _Line(client, server)
            self._lines.append(line)
            for passing in (self._requests, self._replies):
                threading.Thread(target=passing, args=(line,), daemon=True).start()

    def _meets(self) -> Fault | None:
        """Return the fault that something sent meets."""
        with self._lock:
            if self._strike is None:
                return self.fault
            fault, after = self._strike
            self._strike = (fault, after - 1) if after else None
            return self.fault if after else fault

    def _requests(self, line: _Line) -> None:
        with suppress(OSError):  # The other direction may have closed the line.
            while data := line.client.recv(65536):
                line.fault = line.fault or self._meets()
                if line.fault is not None or self._recording:
                    self.requests.append(data)
                if line.fault is Fault.BEFORE:
                    break
                line.server.sendall(data)
        line.cut()

    def _replies(self, line: _Line) -> None:
        with suppress(OSError):
            while data := line.server.recv(65536):
                if line.fault is Fault.STALLED:
                    continue
                if line.fault is Fault.WITHIN:
                    line.client.sendall(data[: max(1, len(data) // 2)])
                if line.fault in (Fault.BETWEEN, Fault.WITHIN):
                    break
                line.client.sendall(data)
        line.cut()
