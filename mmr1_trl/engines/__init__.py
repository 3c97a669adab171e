# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What vLLM has to be told, in training, scoring and evaluation: prompts, caches, tokens that it may not sample."""
