# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The papers' mathematics: torch and numpy in and out, no trainer, no files."""
