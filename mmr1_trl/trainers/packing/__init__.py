# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Passes each distinct prompt through the language model once, and padding not at all."""
