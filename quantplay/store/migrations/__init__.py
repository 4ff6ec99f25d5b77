"""Alembic migrations, run by `quantplay.store.schema` when a store is opened."""
