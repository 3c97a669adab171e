# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a run needs before it starts: memory, work and time, from the model's config and the options alone."""
