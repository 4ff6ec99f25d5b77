"""Quantization-aware training: full-precision weights that are good after rounding. Docs: docs/training.md."""
