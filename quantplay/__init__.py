"""quantplay: eight plays from a full-precision language model to a quantized one that a team can trust."""

__version__ = "0.1.0"
