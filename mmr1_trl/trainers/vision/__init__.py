# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pictures in training: each one pre-processed and encoded once, towers frozen, rows without any."""
