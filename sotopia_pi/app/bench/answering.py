"""A server of the OpenAI chat protocol that gives every call the same reply after the same time, fast enough not to be
what is measured: one asyncio protocol, in a process of its own.

As a script: `python answering.py LATENCY_S` prints its port and serves until it is ended.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

END_OF_HEADERS = b"\r\n\r\n"
SAID = json.dumps({"action_type": "speak", "argument": "I could offer you forty dollars for it, if we agree today."})
"""Words to us, and the action in JSON that the `sotopia` package asks for."""
COMPLETION = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 0,
    "model": "bench",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 400, "completion_tokens": 20, "total_tokens": 420},
}


class Answering(asyncio.Protocol):
    """One connection: each request, once it is whole, is answered `latency_s` seconds later."""

    def __init__(self, latency_s: float):
        body = json.dumps(COMPLETION).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.latency_s, self.answer, self.came = latency_s, head.encode() + body, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.came += data
        while (whole := whole_message(self.came)) and len(self.came) >= whole:
            self.came = self.came[whole:]
            asyncio.get_running_loop().call_later(self.latency_s, self._send)

    def _send(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.answer)


def whole_message(data: bytes) -> int:
    """Bytes of the first message, headers and body, whether they have all come or not; 0 while its headers lack."""
    headers, found, _ = data.partition(END_OF_HEADERS)
    if not found:
        return 0
    length = next(line for line in headers.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(headers) + len(END_OF_HEADERS) + int(length.partition(b":")[2])


@contextmanager
def answering(latency_s: float) -> Iterator[str]:
    """Address, up to `/v1`, of such a server in a process of its own."""
    command = [sys.executable, __file__, str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.terminate()


async def ceiling(url: str, calls: int, at_once: int) -> float:
    """Calls per second that the server answers over so many open connections, with a client that does nothing else."""
    port = int(url.rsplit(":", 1)[1].partition("/")[0])
    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "x" * 2000}]}).encode()
    asked = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(calls // at_once):
            writer.write(asked)
            headers = await reader.readuntil(END_OF_HEADERS)
            await reader.readexactly(whole_message(headers) - len(headers))
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(at_once)))
    return calls // at_once * at_once / (time.perf_counter() - started)


async def _serve(latency_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(latency_s), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
