# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What goes to the Hub and comes back from it: cards, uploads, checkpoints to resume from."""
