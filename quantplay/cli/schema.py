"""The JSON schema of plan files, for editors: `python -m quantplay.cli.schema > docs/plan.schema.json`."""

from __future__ import annotations

import json

from quantplay.formats import TYPES
from quantplay.plan import Plan


def plan_schema() -> str:
    """JSON text, the same every time. Serving types are listed, because an editor can complete them."""
    schema = Plan.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "quantplay plan"
    types = schema["$defs"]["Envelope"]["properties"]["types"]
    types["items"] = {"type": "string", "enum": list(TYPES)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(plan_schema(), end="")
