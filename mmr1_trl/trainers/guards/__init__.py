# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What watches over a run: each guard says in one message, with the numbers, what is wrong and what to turn."""
