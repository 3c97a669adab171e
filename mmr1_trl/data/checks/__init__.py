# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is wrong with rows: unusable, unreadable, or probably not what was meant."""
