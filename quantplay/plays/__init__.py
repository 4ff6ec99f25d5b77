"""Plays: records in, record out. No store, no Prefect; a play can be called and tested alone."""
