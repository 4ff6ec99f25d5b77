"""Who is logged in, in the memory of this process alone: a restart logs everybody out, and no file or database holds a session."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

COOKIE = "__Host-quantplay"  # this prefix has the browser refuse it from another host, path or without TLS
LONGEST_SECONDS = 8 * 3600
IDLE_SECONDS = 3600
ANSWER_SECONDS = 900  # for a log-in at the provider
MOST, MOST_AWAY = 5000, 20


@dataclass(frozen=True, kw_only=True)
class Away:
    """Somebody who was sent to the provider, and what for."""

    nonce: str
    verifier: str  # PKCE
    back: str  # path to go to afterwards
    began: float
    text: bytes | None = None  # of the sign-off that the log-in signs; None: a log-in to read


@dataclass(kw_only=True)
class Session:
    """One browser."""

    id: str
    csrf: str
    began: float
    seen: float
    subject: str | None = None  # at the provider; None: not logged in yet
    name: str = ""  # as pages greet them
    away: dict[str, Away] = field(default_factory=dict)  # by state
    told: str = ""  # to be said once, on the next page


@dataclass
class Sessions:
    """`clock`: seconds that only go forward."""

    clock: Callable[[], float] = time.monotonic
    known: dict[str, Session] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, subject: str | None = None, name: str = "", told: str = "") -> Session:
        """A new one with an id of its own; where there are too many, those go first that never logged in."""
        now = self.clock()
        made = Session(
            id=secrets.token_urlsafe(32), csrf=secrets.token_urlsafe(32), began=now, seen=now, subject=subject, name=name, told=told
        )  # fmt: skip
        with self.lock:
            self.known = {one.id: one for one in self.known.values() if self.alive(one, now)}
            while len(self.known) >= MOST:
                del self.known[min(self.known.values(), key=lambda one: (one.subject is not None, one.seen)).id]
            self.known[made.id] = made
        return made

    def of(self, cookie: str | None) -> Session | None:
        now = self.clock()
        with self.lock:
            found = self.known.get(cookie or "")
            if found is None or not self.alive(found, now):
                return None
            found.seen = now
            return found

    def end(self, session: Session) -> None:
        with self.lock:
            self.known.pop(session.id, None)

    def alive(self, session: Session, now: float) -> bool:
        if session.subject is None:
            return now - session.began < ANSWER_SECONDS
        return now - session.began < LONGEST_SECONDS and now - session.seen < IDLE_SECONDS

    def send(self, session: Session, away: Away) -> str:
        """The state under which the provider sends them back."""
        state = secrets.token_urlsafe(32)
        with self.lock:
            while len(session.away) >= MOST_AWAY:
                del session.away[next(iter(session.away))]
            session.away[state] = replace(away, began=self.clock())
        return state

    def look(self, session: Session, state: str) -> Away | None:
        """What this state was for, while it can still be answered."""
        with self.lock:
            found = session.away.get(state)
        return found if found is not None and self.clock() - found.began < ANSWER_SECONDS else None

    def returned(self, session: Session, state: str) -> Away | None:
        """The same, once."""
        found = self.look(session, state)
        with self.lock:
            return found if session.away.pop(state, None) is not None else None

    def said(self, session: Session) -> str:
        """What was to be told, once."""
        with self.lock:
            told, session.told = session.told, ""
        return told


VISITOR: ContextVar[Session | None] = ContextVar("visitor", default=None)
"""Who reads the page that is drawn now; None where nobody has to log in."""
