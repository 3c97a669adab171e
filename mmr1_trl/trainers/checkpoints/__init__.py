# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Checkpoints of a run: what they hold, how a run goes on from them, and their uploads."""
