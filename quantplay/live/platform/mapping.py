"""Which Services of a cluster serve an endpoint's two arms, as the platform's team writes it down in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError, model_validator

from quantplay.errors import Fault, InputError, ServiceUnavailable
from quantplay.records import Signal
from quantplay.records.base import Record
from quantplay.records.traffic import EndpointName, ServedBy

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Host = Annotated[
    str, Field(pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
Selector = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^{}]*\})?$", max_length=1000)]
"""Series of a metric in PromQL: `name` or `name{label="value"}`."""
ARMS: tuple[ServedBy, ServedBy] = ("full_precision", "quantized")
"""In the order of a route's backends: the one that stays comes first, so that its place never changes."""


class ParentGateway(Record):
    """The Gateway that the routes belong to."""

    name: Name
    namespace: Name | None = None  # the routes' own
    listener: Name | None = None  # one of its listeners, `sectionName`


class ArmService(Record):
    """A Kubernetes Service in front of one arm's servers, and what is counted of it."""

    service: Name
    port: int = Field(ge=1, le=65535)
    cluster: str | None = Field(default=None, min_length=1)  # as Envoy's metrics call it; None: as Envoy Gateway does
    counts: dict[Signal, Selector] = Field(
        default={}
    )  # signals that Envoy knows nothing of, each a counter of this arm
    first_token: Selector | None = None  # the buckets of this arm's time to first token, a histogram in seconds


class EndpointRoute(Record):
    """Where clients ask for an endpoint. The gateway can't look into a request, so the address has to tell."""

    hostnames: tuple[Host, ...] = Field(default=(), max_length=16)
    path: str = Field(default="/v1", pattern=r"^/$|^(/[-A-Za-z0-9_~][-A-Za-z0-9._~]*)+$", max_length=1024)
    route: Name | None = None  # name of the HTTPRoute; None: the endpoint's
    full_precision: ArmService
    quantized: ArmService

    def arm(self, name: ServedBy) -> ArmService:
        return self.quantized if name == "quantized" else self.full_precision


class Mapping(Record):
    """What the adapter needs to know of a platform."""

    gateway: ParentGateway
    namespace: Name  # of the routes and the Services
    settle_seconds: int = Field(default=60, ge=0, le=3600)  # after a change, until the gateway surely goes by it
    endpoints: dict[EndpointName, EndpointRoute] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_apart(self) -> Mapping:
        names = [self.route_of(endpoint) for endpoint in self.endpoints]
        places = [(host, one.path) for one in self.endpoints.values() for host in one.hostnames or ("*",)]
        if len(set(names)) < len(names):
            raise ValueError(f"two endpoints have one HTTPRoute: {', '.join(names)}")
        if len(set(places)) < len(places):
            raise ValueError(f"two endpoints have one host and path: {', '.join(host + path for host, path in places)}")
        return self

    def route_of(self, endpoint: str) -> str:
        return self.endpoints[endpoint].route or endpoint.replace("_", "-").rstrip("-")


def read_mapping(path: Path) -> Mapping:
    """Raises ServiceUnavailable where there is no file, InputError where it holds something else."""
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ServiceUnavailable(f"no mapping in {path}", value=error.strerror) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as YAML", value=str(error)) from None
    try:
        return Mapping.model_validate(body)
    except ValidationError as error:
        faults = [
            Fault(where=".".join(str(part) for part in each["loc"]) or "the file", what=each["msg"])
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise InputError(f"{path} is not a mapping", faults=faults, fix="docs/platform-gateway.md shows one") from None
