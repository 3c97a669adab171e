# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Points and boxes: reading them, their frames, and the rewards that score them."""
