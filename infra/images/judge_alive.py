"""Health check of the judge's container: ends with 0 where every endpoint that the quantized model answers at was judged lately."""

from __future__ import annotations

import json
import sys
import time

from quantplay.errors import QuantplayError
from quantplay.settings import settings
from quantplay.store.registry import open_store

LATELY_SECONDS = 300  # it looks every minute


def main() -> int:
    since, late = time.time() - LATELY_SECONDS, []
    try:
        with open_store(settings()) as store:
            for policy in store.traffic_policies():
                changed = store.traffic_changes(policy.endpoint)[-1].at.timestamp()
                judged = store.judgements(policy.endpoint, policy.revision, newest=1)
                if policy.share > 0 and max([changed, *(json.loads(one)["at"] for one in judged)]) < since:
                    late.append(policy.endpoint)
    except QuantplayError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"not judged for {LATELY_SECONDS} s: {', '.join(late)}" if late else "every endpoint was judged lately")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
