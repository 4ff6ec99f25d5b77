"""Runtimes: transformers_model.py loads a source model; llama_cpp.py runs GGUF files in process; converter.py and
llama_quantize.py make them. Nothing here knows plans, plays or the store.
"""
