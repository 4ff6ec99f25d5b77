"""The platform's own gateway in place of ours: it splits the traffic, we tell it how and read what it counted. Same judge, same pointer.

ports.py        what such a gateway has to do: PlatformGateway
mapping.py      which Services serve an endpoint's arms, as a team writes it down
gateway_api.py  a policy as an HTTPRoute of Kubernetes' Gateway API; pure
outputs.py      where that goes: a folder for GitOps, or kubectl
prometheus.py   samples of counters from Prometheus
rises.py        what was counted since, from samples of counters that may begin anew; pure
envoy.py        the one adapter: Gateway API for the split, Envoy's counters for the counts
follow.py       policies to the gateway, counts to the store, until told to stop
"""
