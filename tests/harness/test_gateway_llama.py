"""The gateway in front of llama.cpp's own server: the same text as asked directly, and no traffic for a name it does not list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from benchmarks.gateway_lab import gateway, written
from quantplay.harness.server import served
from quantplay.harness.server_command import Serving
from quantplay.records.traffic import ServedArm, TrafficPolicy

pytestmark = pytest.mark.slow


def test_llama_cpps_server_as_an_arm(tmp_path: Path, candidate_gguf: Path) -> None:
    ask: dict[str, Any] = {"prompt": "Order 7:", "max_tokens": 12, "temperature": 0, "seed": 0}
    serving = Serving(runtime="llama.cpp-server", model=candidate_gguf, context_tokens=512, concurrency=2, threads=1)
    with served(serving) as server:
        arm = ServedArm(url=server.url, model=server.alias, artifact="a" * 64)
        policies = [
            TrafficPolicy(
                endpoint=name,
                revision=1,
                version=1,
                state="live",
                weight=1,
                salt="s",
                full_precision=arm,
                quantized=quantized,
            )
            for name, quantized in (("right", arm), ("wrong", arm.model_copy(update={"model": "another"})))
        ]
        written(tmp_path / "policies.json", policies)
        with (
            gateway(tmp_path / "policies.json", tmp_path / "home") as through,
            openai.OpenAI(base_url=server.url, api_key="none") as direct,
            openai.OpenAI(base_url=through.url, api_key="none", max_retries=0) as client,
        ):
            expected = direct.completions.create(model=server.alias, **ask).choices[0].text
            assert len(expected) > 5
            for endpoint, answered in (("right", "quantized"), ("wrong", "full_precision")):
                raw = client.completions.with_raw_response.create(model=endpoint, **ask)
                assert raw.headers["x-quantplay-served"] == answered
                assert raw.parse().choices[0].text == expected
                with client.completions.create(model=endpoint, stream=True, **ask) as stream:
                    assert "".join(chunk.choices[0].text for chunk in stream) == expected
