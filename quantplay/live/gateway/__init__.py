"""The gateway: one OpenAI-compatible address in front of both arms. The database is never on the path of a request.

A request:
protocol.py     HTTP, with bounds on a request's head
app.py          the addresses; description.py tells them as OpenAPI
completions.py  one request from its first byte to its last
answers.py      JSON answers, errors in OpenAI's form
keys.py         who may ask, and how much
asked.py        the body: read, understood, its model replaced; which conversation it belongs to
upstream.py     one arm, up to the first byte worth passing on
relay.py        an answer's bytes to the client, as they come
feedback.py     what users did with an answer
elsewhere.py    the other gateways: that this one is there, and feedback on their answers

Around it:
gateway.py      the parts, and how they start and end together
table.py        the policies in force, and which arm a conversation is assigned to
follow.py       policies from their source into the table, and the snapshot for the next start
arms.py         does each arm's server serve what it should
telemetry.py    what is written down, and how it reaches the sink
ledger.py       what is counted already: each thing once a conversation
counters.py     counts a minute until the sink has them; the queue of request rows
redact.py       prompt text that may be stored
metrics.py      the counts as Prometheus text
admin.py        the admin port's page: what this process knows and the database remembers; page.py draws it
history.py      what the judge said, for that page
otel.py         OpenTelemetry's names for all that
ports.py        what it needs from outside: PolicySource, Sink, Others
files.py        the first two as files
database.py     all three in the product database
limits.py       what one request, client and process may take
serve.py        the process: ports, signals, end
"""
