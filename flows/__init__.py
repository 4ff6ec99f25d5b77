"""Prefect flows: the whole playbook with its gate, and what runs it on one machine."""
