"""A person's signature under a decision or a package, made and checked with the SSH keys people already have, or by a log-in.

text.py       what is signed, a few lines that can be read aloud      owners.py   people, roles and public keys
ssh.py        ssh-keygen signs and verifies                           rules.py    when a signature is accepted
login.py      an OpenID provider vouches for a person and a text      proof.py    by which of the two somebody signed
standing.py   which signatures count, and which are missing           providers.py   log-ins in the owners file
"""

from quantplay.signoff.owners import Owners, Person, read_owners, read_owners_text
from quantplay.signoff.rules import Case, check_signoff, record_of
from quantplay.signoff.standing import REQUIRED, Standing, Void, sign_command, standing, verified
from quantplay.signoff.text import Statement, new_statement, parse, render

__all__ = [
    "REQUIRED",
    "Case",
    "Owners",
    "Person",
    "Standing",
    "Statement",
    "Void",
    "check_signoff",
    "new_statement",
    "parse",
    "read_owners",
    "read_owners_text",
    "record_of",
    "render",
    "sign_command",
    "standing",
    "verified",
]
