# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""An `ArgumentParser` whose complaints are one message like all the others."""

import argparse
from typing import Any, NoReturn

from mmr1_trl.errors import BadInputError


class Parser(argparse.ArgumentParser):
    """
    Takes no abbreviations, and raises [`BadInputError`] where argparse would print two lines and exit.

    Args:
        usage (`str`, *optional*):
            One line that a complaint ends with.
        **options:
            As for [`argparse.ArgumentParser`].
    """

    def __init__(self, *, usage: str | None = None, **options: Any) -> None:
        super().__init__(usage=usage, **{"allow_abbrev": False} | options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an argument. An option is known with hyphens in the place of underscores too, as those of TRL are."""
        spellings = [*names, *(name.replace("_", "-") for name in names if name.startswith("--"))]
        return super().add_argument(*dict.fromkeys(spellings), **options)

    def error(self, message: str) -> NoReturn:
        raise BadInputError(f"{message}. Usage: {self.usage}" if self.usage else message)
