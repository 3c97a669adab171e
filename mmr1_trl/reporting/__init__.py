# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reporting: runs read from disk, curves, tables and the self-contained page."""
