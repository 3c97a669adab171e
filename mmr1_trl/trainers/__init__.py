# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Where the methods meet TRL: one subclass of `GRPOTrainer`, and a thin named trainer for each paper."""
