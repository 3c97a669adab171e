# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Gold answers: choices and labels, several that are right, wrong ones on purpose."""
