"""The evaluation harness: the same prompts, decoding and scoring for every arm, through lm-eval.

identity.py says what makes two harnesses the same; quality.py runs items and task files on one model; difficulty.py ranks
items by sampled answers. tasks.py and task_files.py make lm-eval tasks, lm_transformers.py and lm_llama.py are lm-eval
models. divergence.py and speed.py measure what lm-eval does not.
"""
