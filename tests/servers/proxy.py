"""A TCP proxy that cuts connections: before a command, or before or within its reply."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from itertools import cycle


class Fault(Enum):
    """What happens to open connections and to new ones."""

    REFUSED = auto()
    """A new connection is closed at once. Open ones continue."""

    BEFORE = auto()
    """What the client sends is dropped and the connection closed: the server never sees it."""

    BETWEEN = auto()
    """The server gets it and replies. The reply is dropped and the connection closed."""

    WITHIN = auto()
    """The first half of the reply gets through; then the connection is closed."""

    STALLED = auto()
    """The server gets it and replies. The reply is held back and the connection stays open."""


class _Line:
    """A connection from a client to the server through the proxy, and its fault."""

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
    """Listens on a loopback port and forwards everything to the server, except for a fault."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.fault: Fault | None = None
        self.requests: list[bytes] = []
        """What clients have sent during a fault, or since one was requested."""
        self._recording = False
        self._strike: tuple[Fault, int] | None = None
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Have a fault during the block, from the next thing that is sent."""
        self.requests.clear()
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    def strike(self, fault: Fault, after: int = 0) -> None:
        """Have a fault for one thing that is sent, after `after` others, on its connection only.

        When that is sent again, it gets through.
        """
        self.requests.clear()
        self._strike, self._recording = (fault, after), True

    def calm(self) -> None:
        """Forget a strike that has not happened."""
        self._strike, self._recording = None, False

    def cut(self) -> None:
        """Close the connections that are open."""
        lines, self._lines = self._lines, []
        for line in lines:
            line.cut()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _next_target(self) -> int:
        """Return the port to which a new connection leads."""
        return self.target

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
                server = socket.create_connection(("127.0.0.1", self._next_target()))
            except OSError:  # The server is down.
                client.close()
                continue
            line = _Line(client, server)
            self._lines.append(line)
            for passing in (self._requests, self._replies):
                threading.Thread(target=passing, args=(line,), daemon=True).start()

    def _meets(self) -> Fault | None:
        """Return the fault for something that a client sent."""
        with self._lock:
            if self._strike is None:
                return self.fault
            fault, after = self._strike
            self._strike = (fault, after - 1) if after else None
            return self.fault if after else fault

    def _requests(self, line: _Line) -> None:
        with suppress(OSError):  # The other direction may have closed it.
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


class Balancer(Proxy):
    """A proxy that leads each new connection to the next of several servers in turn."""

    def __init__(self, ports: list[int]) -> None:
        self._targets = cycle(ports)
        super().__init__(ports[0])

    def _next_target(self) -> int:
        return next(self._targets)
