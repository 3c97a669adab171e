# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A chat template is a program that somebody else wrote: it is tried, within a limit, before it is relied on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmr1_trl.errors import BadInputError


LIMIT = 5.0  # seconds of this process; a template takes less than a millisecond


def try_chat_template(processor: Any, where: str) -> None:
    """
    Write one short conversation by the chat template of a processor.

    Args:
        processor ([`~transformers.ProcessorMixin`]):
            The processor.
        where (`str`):
            The model's folder or Hub id, for the message.

    Raises:
        [`BadInputError`]: The template takes neither lists of parts nor texts as contents, has a syntax error, wants
            what its sandbox forbids, or does not come to an end.
    """
    parts = [{"type": "image"}, {"type": "text", "text": "How many?"}]
    reasons = []
    for content in (parts, "How many?"):
        try:
            with _time_limit(LIMIT):
                processor.apply_chat_template(
                    [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
                )
            return
        except TimeoutError:
            reasons.append(f"it did not come to an end within {LIMIT:g} s")
            break
        except Exception as error:  # a template can raise anything
            reasons.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    raise BadInputError(
        f"The chat template of {where!r} cannot write a prompt: {reasons[0]}. Put the chat_template.jinja of the "
        "model that it was trained from beside it."
    )


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` after so much processor time; signals reach the main thread only, others go without."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
