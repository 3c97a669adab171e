# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One file per `mmr1` command, each with `run(argv) -> exit code`."""
