"""What a platform's gateway has to do for us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from quantplay.records.traffic import ServedBy, TrafficPolicy

Rise = Mapping[tuple[ServedBy, str], int]
"""(arm, counter) -> how many more; counters are named as a gateway of ours names them."""


class PlatformGateway(Protocol):
    """One platform's gateway. Every call may take seconds and is made in a thread of its own."""

    def serves(self, endpoint: str) -> bool:
        """Whether this gateway is told about the endpoint at all."""
        ...

    def write(self, policy: TrafficPolicy) -> str:
        """Order the policy's split; a sentence on what came of it. The same once more changes nothing.

        Raises InputError where the policy can't be had there, ServiceUnavailable where nothing was ordered; both are tried again.
        """
        ...

    def counters(self, policy: TrafficPolicy) -> Rise:
        """What was counted at the policy's endpoint since the last call; the first call says where counting begins.

        Nothing means that nobody asked. Raises ServiceUnavailable where nobody knows; what was counted meanwhile comes with the next answer.
        """
        ...
