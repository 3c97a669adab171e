# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`python -m mmr1_trl.cli` is `mmr1`; the launchers start their processes this way."""

import sys

from mmr1_trl.cli import main


if __name__ == "__main__":
    sys.exit(main())
