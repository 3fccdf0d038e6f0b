"""A small server on 127.0.0.1 that speaks the OpenAI chat protocol, and misbehaves on demand, by seed and share."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import numpy as np

from sotopia_pi.store.items import content_id

PASSING = ("rate_limit", "server_error", "hang", "cut", "torn_json", "huge")
"""Faults after which the same question may get an answer."""
ANSWERS = ("empty", "refusal")
"""Odd answers that are answers all the same."""
KINDS = PASSING + ANSWERS
"""What a share of faults is drawn from. There is also "drip", an answer of one byte at a time without an end."""
SPOILT = ("wrong_schema", "swapped", "out_of_range")
"""Answers that do not keep to the schema they were asked for; drawn only where a request has one."""
REFUSAL = "I am sorry, I cannot help with that."
HUGE = 10_000_000


@dataclass(frozen=True)
class Faults:
    """Which share of the requests, in [0, 1], goes wrong, and how. The draw depends on the request and on how often
    it was asked before, not on what else arrives. first: how often the same request may go wrong before it is
    answered. retry_after: value of that header on a rate limit."""

    share: float = 0.0
    kinds: tuple[str, ...] = KINDS
    seed: int = 0
    retry_after: str = "0.01"
    first: int = 1_000_000

    def draw(self, body: dict[str, Any], times: int) -> str | None:
        number = int(content_id("fault", body).rsplit("-", 1)[1], 16)
        rng = np.random.default_rng([self.seed, number, times])
        kinds = [kind for kind in self.kinds if kind not in SPOILT or "response_format" in body]
        return str(rng.choice(kinds)) if kinds and times < self.first and rng.random() < self.share else None


class FaultServer:
    """Use as a context. reply: body of a request -> text. latency_s: seconds every answer takes.

    rejects: request fields answered with 400; rejection: in which words. key: the only one let in, repeated in the
    error as bad servers do. models: the names it knows, () for all. usage: whether replies say it.

    quota: False answers every request like an empty account. hang_s: seconds until a hanging (or dripping)
    connection is closed.

    requests: bodies of all that was asked; fates: the fault each of them met, None where it met none; answered: how
    often a usable reply was sent; given: faults by kind; keys: Authorization headers as they came (None: none).
    """

    def __init__(
        self,
        reply: Callable[[dict[str, Any]], str] = lambda body: "Hello.",
        faults: Faults | None = None,
        latency_s: float = 0.0,
        rejects: Collection[str] = (),
        rejection: str = "Unsupported parameter: '{field}'",
        key: str | None = None,
        models: Collection[str] = (),
        usage: bool = True,
        quota: bool = True,
        hang_s: float = 60.0,
    ):
        self.reply, self.faults = reply, faults or Faults()
        self.latency_s, self.hang_s = latency_s, hang_s
        self.rejects, self.rejection = rejects, rejection
        self.key, self.models = key, models
        self.usage, self.quota = usage, quota
        self.requests: list[dict[str, Any]] = []
        self.fates: list[str | None] = []
        self.keys: list[str | None] = []
        self.given: Counter[str] = Counter()
        self.answered = 0
        self.most_at_once = 0
        self._at_once = 0
        self._asked: Counter[str] = Counter()
        self.away = False
        self._due: tuple[int, Callable[[], object]] | None = None
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._http = self._listening(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def _listening(self, port: int) -> "_QuietServer":
        return _QuietServer(("127.0.0.1", port), type("Handler", (_Handler,), {"owner": self}))

    def _serve(self) -> None:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the server. Raises what went wrong in its own code, or in `reply`, unless the test failed already."""
        self.closing.set()
        self.go_away()
        if self._http.errors and kind is None:
            raise RuntimeError("the test server itself failed") from self._http.errors[0]

    def when_asked(self, times: int, happens: Callable[[], object]) -> None:
        """Let this happen, once, when so many further requests have come, before the last of them is answered."""
        self._due = (len(self.requests) + times, happens)

    def go_away(self) -> None:
        """Refuse every connection from now on, and cut those that are open without an answer."""
        self.away = True
        self._http.shutdown()
        self._http.server_close()

    def come_back(self) -> None:
        """Listen again, at the same address."""
        failed, self._http = self._http.errors, self._listening(self._http.server_address[1])
        self._http.errors += failed
        self.away = False
        self._serve()

    def begin(self, body: dict[str, Any], key: str | None) -> str | None:
        """Note a request; the fault it gets."""
        with self._lock:
            self.requests.append(body)
            self.keys.append(key)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            name = content_id("body", body)
            fault = self.faults.draw(body, self._asked[name])
            self._asked[name] += 1
            self.fates.append(fault)
            if fault:
                self.given[fault] += 1
            due, self._due = (self._due, None) if self._is_due() else (None, self._due)
        if due:
            due[1]()
        return fault

    def _is_due(self) -> bool:
        return self._due is not None and len(self.requests) >= self._due[0]

    def end(self, answered: bool) -> None:
        with self._lock:
            self._at_once -= 1
            self.answered += answered


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.errors: list[BaseException | None] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong here; a client that gave up is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            self.errors.append(sys.exception())


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection. owner: whose faults, replies and notes these are."""

    owner: FaultServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        known = [{"id": name, "object": "model"} for name in self.owner.models or ("toy",)]
        self.send_json(200, {"object": "list", "data": known})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not data or self.owner.away:
            self.close_connection = True
            return
        body = json.loads(data)
        fault = self.owner.begin(body, self.headers["Authorization"])
        answered = False
        try:
            time.sleep(self.owner.latency_s)
            answered = not self.owner.away and self.answer(body, fault)
            self.close_connection = self.close_connection or self.owner.away
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.owner.end(answered)

    def answer(self, body: dict[str, Any], fault: str | None) -> bool:
        """Whether a text was sent to its end."""
        if self.owner.key and self.headers["Authorization"] != f"Bearer {self.owner.key}":
            return self.refuse_key()
        if self.owner.models and body["model"] not in self.owner.models:
            return self.send_error_json(404, f"The model `{body['model']}` does not exist", "model_not_found")
        if not self.owner.quota:
            return self.send_error_json(429, "You exceeded your current quota", "insufficient_quota")
        for field in self.owner.rejects:
            if field in body:
                return self.send_error_json(400, self.owner.rejection.format(field=field))
        match fault:
            case "rate_limit":
                return self.send_error_json(429, "Slow down", retry_after=self.owner.faults.retry_after)
            case "server_error":
                return self.send_error_json(500, "Something broke")
            case "hang":
                self.owner.closing.wait(self.owner.hang_s)
                self.close_connection = True
                return False
            case "drip":
                return self.drip()
        completion = completion_of(body, self.owner.reply(body), fault, self.owner.usage)
        return self.send_stream(completion, fault) if body.get("stream") else self.send_whole(completion, fault)

    def refuse_key(self) -> bool:
        return self.send_error_json(401, f"Incorrect API key: {self.headers['Authorization']}", "invalid_api_key")

    def drip(self) -> bool:
        """Never silent for long, and never done."""
        self.send_bytes(200, b" " * HUGE, sent=1)
        ends = time.monotonic() + self.owner.hang_s
        while time.monotonic() < ends and not self.owner.closing.wait(0.02):
            self.wfile.write(b" ")
        self.close_connection = True
        return False

    def send_whole(self, completion: dict[str, Any], fault: str | None) -> bool:
        data = json.dumps(completion).encode()
        if fault == "torn_json":
            self.send_bytes(200, data[: len(data) // 2])
            return False
        self.send_bytes(200, data, sent=len(data) // 2 if fault == "cut" else len(data))
        return fault not in ("cut", "huge")

    def send_stream(self, completion: dict[str, Any], fault: str | None) -> bool:
        """A word an event; cut: the connection ends in the middle, torn_json: an event is half a JSON object."""
        choice = completion["choices"][0]
        kind = "refusal" if choice["message"].get("refusal") else "content"
        words = (choice["message"].get(kind) or "").split(" ")
        deltas = [{kind: word if i == 0 else f" {word}"} for i, word in enumerate(words)]
        events = [{**completion, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
        last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
        lines = [json.dumps(event) for event in (*events, {**completion, "choices": [last]})]
        lines.append("[DONE]")
        if fault in ("cut", "torn_json"):
            lines = [*lines[: len(words) // 2], lines[len(words) // 2][:20]][: None if fault == "torn_json" else -1]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = f"data: {line}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if fault == "cut":
            self.close_connection = True
            return False
        self.wfile.write(b"0\r\n\r\n")
        return fault not in ("torn_json", "huge")

    def send_error_json(self, status: int, message: str, code: str = "", retry_after: str = "") -> bool:
        headers = {"Retry-After": retry_after} if retry_after else {}
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code or None}
        self.send_json(status, {"error": error}, headers)
        return False

    def send_json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(value).encode(), headers)

    def send_bytes(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, sent: int | None = None
    ) -> None:
        """sent: bytes to send before the connection is cut; None or all of them: no cut."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:sent])
        if sent is not None and sent < len(data):
            self.close_connection = True


def completion_of(body: dict[str, Any], text: str, fault: str | None, usage: bool = True) -> dict[str, Any]:
    """A chat completion, one token a word; longer replies than the asked limit are cut off as by a model."""
    text = spoilt(text, fault) if fault in SPOILT else text
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    words = text.split(" ")
    cut = limit is not None and len(words) > limit
    message: dict[str, Any] = {"role": "assistant", "content": " ".join(words[:limit]) if cut else text}
    match fault:
        case "empty":
            message["content"] = ""
        case "huge":
            message["content"] = "x" * HUGE
        case "refusal":
            message |= {"content": None, "refusal": REFUSAL}
    prompt = sum(len(m["content"].split()) for m in body["messages"])
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": f"{body['model']}-0001",
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}],
    }
    if usage:
        counted = {"prompt_tokens": prompt, "completion_tokens": min(len(words), limit or len(words))}
        details = {"prompt_tokens_details": {"cached_tokens": prompt // 2}}
        completion["usage"] = {**counted, "total_tokens": sum(counted.values()), **details}
    return completion


def spoilt(text: str, kind: str) -> str:
    """A JSON object that does not keep to its schema any more: another one, its values under one another's names (of a
    judge: the sides swapped), or every number beyond its range."""
    answer = json.loads(text)
    match kind:
        case "wrong_schema":
            answer = {"answer": answer}
        case "swapped":
            answer = dict(zip(answer, reversed(answer.values()), strict=True))
        case "out_of_range":
            answer = _beyond(answer)
    return json.dumps(answer)


def _beyond(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _beyond(inner) for name, inner in value.items()}
    return 99 if isinstance(value, int) else value
