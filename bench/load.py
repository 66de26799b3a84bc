"""The load generator, a process of its own: 32 connections, each sending its next request when its answer has come.

Requests are bytes made beforehand (`frames`), read from standard input; what was measured leaves as JSON. It imports
nothing of the service and parses no more of an answer than its length, so that it costs little of the machine it measures.
"""

import json
import selectors
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

CONNECTIONS = 32
_LENGTH = b"content-length: "
_QUIET_SECONDS = 20


def frames(requests: Iterable[bytes]) -> bytes:
    """Requests as this program reads them: each after its length in 4 bytes."""
    return b"".join(len(request).to_bytes(4, "big") + request for request in requests)


def request(
    method: str, path: str, body: bytes, token: str | None = None, content_type: str = "application/json"
) -> bytes:
    """One HTTP/1.1 request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: bench",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Line:
    """One keep-alive connection and the answer that it waits for."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        self.since = 0.0

    def send(self, data: bytes) -> None:
        self.got, self.since = b"", time.perf_counter()
        self.socket.sendall(data)

    def receive(self) -> bool:
        """Read what has come; whether the answer is whole. Raises `ConnectionError` when the server hangs up."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the server hung up")
        self.got = self.got + part if self.got else part
        end = self.got.find(b"\r\n\r\n")
        if end < 0:
            return False
        at = self.got.find(_LENGTH, 0, end + 2) + len(_LENGTH)
        return len(self.got) >= end + 4 + int(self.got[at : self.got.index(b"\r", at)])


def run(address: tuple[str, int], requests: list[bytes], status: bytes, expected: bytes) -> dict[str, Any]:
    """Send every request once; the times taken, and how many answers were not as expected with the first such answer."""
    waiting: Iterator[bytes] = iter(requests)
    times: list[float] = []
    wrong: list[str] = []
    head = b"HTTP/1.1 " + status
    with selectors.DefaultSelector() as selector:
        lines = [_Line(address) for _ in range(CONNECTIONS)]
        for line in lines:
            selector.register(line.socket, selectors.EVENT_READ, line)
        began, worked = time.perf_counter(), time.process_time()
        for line, first in zip(lines, waiting, strict=False):
            line.send(first)
        while len(times) < len(requests):
            ready = selector.select(_QUIET_SECONDS)
            if not ready:
                raise TimeoutError("the server fell silent")
            for key, _ in ready:
                line = key.data
                if not line.receive():
                    continue
                times.append(time.perf_counter() - line.since)
                if not line.got.startswith(head) or expected not in line.got:
                    wrong.append(line.got.decode(errors="replace"))
                if (following := next(waiting, None)) is not None:
                    line.send(following)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    for line in lines:
        line.socket.close()
    return {"seconds": seconds, "cpu": cpu, "times": times, "wrong": len(wrong), "example": wrong[0] if wrong else None}


def main() -> None:
    """`python -m bench.load HOST PORT STATUS EXPECTED < frames`."""
    host, port, status, expected = sys.argv[1:]
    data = sys.stdin.buffer.read()
    requests, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        requests.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    json.dump(run((host, int(port)), requests, status.encode(), expected.encode()), sys.stdout)


if __name__ == "__main__":
    main()
