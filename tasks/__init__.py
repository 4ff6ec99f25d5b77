"""Prefect tasks, one file a play: look up, call the play, record, return."""
