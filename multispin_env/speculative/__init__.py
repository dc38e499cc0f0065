"""Speculative decoding with real language models: what a device drafts and uploads, and what the server makes of it.

- ``sampling``: the rules, pure NumPy: the uploaded distribution, acceptance (eq. 4), correction and bonus (eq. 5).
- ``reader``: a causal language model that reads the texts of several users at once, with a cache that can be cropped.
- ``compatibility``: whether a model reads several texts side by side as it reads each alone, tried when it is loaded.
- ``models``: a pair of Hugging Face models that shares a tokenizer, by name, folder or GGUF file; the tiny pair.
- ``decoding``: users who draft and the server that verifies them in one batch.
- ``prompts``: files of prompts.

``reader``, ``compatibility``, ``models`` and ``decoding`` need the extra ``live``; importing this package does not.
"""
