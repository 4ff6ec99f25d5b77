"""A STAND-IN for `vllm serve`, for tests where vLLM can't run: its options, and OpenAI's completions answered by transformers.

It shows that what quantplay does around vLLM works, and nothing about vLLM itself.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)  # an option that vLLM does not have is refused, as vLLM does
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", type=Path)
    for name in ("--served-model-name", "--host", "--generation-config"):
        parser.add_argument(name, required=True)
    for name in ("--port", "--max-model-len", "--max-num-seqs", "--seed", "--kv-cache-memory-bytes"):
        parser.add_argument(name, type=int)
    parser.add_argument("--no-enable-prefix-caching", action="store_true")
    given = parser.parse_args()
    model = Model(given.model)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(json.dumps({"data": [{"id": given.served_model_name}]}), "application/json")

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert asked["model"] == given.served_model_name
            if not asked.get("stream"):
                self.reply(json.dumps({"choices": [{"index": 0, **model.answer(asked)}]}), "application/json")
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            count = 0
            for text in model.stream(asked):
                count += 1
                self.event({"choices": [{"index": 0, "text": text}]})
            self.event({"choices": [], "usage": {"completion_tokens": count}})
            self.wfile.write(b"data: [DONE]\n\n")

        def event(self, message: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(message)}\n\n".encode())
            self.wfile.flush()

        def reply(self, body: str, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None: ...

    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()


class Model:
    """Greedy answers, one request at a time."""

    def __init__(self, folder: Path) -> None:
        from quantplay.engines.transformers_model import load_model, load_tokenizer

        self.model, self.tokenizer, self.lock = load_model(folder), load_tokenizer(folder), threading.Lock()

    def tokens(self, asked: dict[str, Any]) -> list[int]:
        prompt = asked["prompt"]
        if isinstance(prompt, str):
            return self.tokenizer(prompt)["input_ids"]
        return prompt[0] if isinstance(prompt[0], list) else prompt

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("echo"):
            return {"text": "", "logprobs": self.scores(self.tokens(asked))}
        text = ""
        stops = asked.get("stop") or []
        for piece in self.stream(asked):
            text += piece
            if found := [text.index(stop) for stop in stops if stop in text]:
                return {"text": text[: min(found)]}
        return {"text": text}

    def scores(self, tokens: list[int]) -> dict[str, Any]:
        import torch

        with self.lock, torch.inference_mode():
            told = self.model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        following = [*tokens[1:], int(told[-1].argmax())]
        own = [float(row[token]) for row, token in zip(told, following, strict=True)]
        top = [{"best": float(row.max())} for row in told]
        return {"token_logprobs": [None, *own], "top_logprobs": [None, *top]}

    def stream(self, asked: dict[str, Any]) -> Iterator[str]:
        import torch

        prompt, new, said = self.tokens(asked), [], ""
        before = self.tokenizer.decode(prompt, skip_special_tokens=True)
        past, fed = None, torch.tensor([prompt])
        for _ in range(asked["max_tokens"]):
            with self.lock, torch.inference_mode():
                told = self.model(fed, past_key_values=past, use_cache=True)
            past, token = told.past_key_values, int(told.logits[0, -1].argmax())
            if token == self.tokenizer.eos_token_id and not asked.get("ignore_eos"):
                return
            new.append(token)
            fed = torch.tensor([[token]])
            whole = self.tokenizer.decode([*prompt, *new], skip_special_tokens=True)[len(before) :]
            yield whole[len(said) :]
            said = whole


if __name__ == "__main__":
    main()
