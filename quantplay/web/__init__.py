"""The registry as web pages, for people without a terminal: drawn on the server, no script, nothing from another host.

app.py      addresses, headers, refusals          list.py     the models that are looked for, a page at a time
package.py  one package in full                   run.py      a run that waits for signatures
around.py   funnel, incidents, endpoints          adoption.py how far quantization has come
serve.py    the process
"""
