# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Calling reward functions of the user's own: tried on two rows before anything is trained, and watched afterwards."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmr1_trl.errors import BadInputError, TrainingStopped, did_you_mean


# What TRL passes beside the columns of the rows.
PASSED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "generation_prompt")
NOT_PASSED = ("prompt", "completion", "completion_ids")  # columns that TRL does not pass


def reward_name(function: Any) -> str:
    """Return what a reward function is called in messages."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", None) or type(function).__module__
    return name if module.startswith("mmr1_trl.") else f"{module}.{name}"


def is_ours(function: Any) -> bool:
    """Whether a reward function is one of this package's or of TRL's, which need no trial."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__module__", "")).startswith(("mmr1_trl.", "trl."))


def try_rewards(functions: Sequence[Any], rows: Sequence[Mapping[str, Any]], trainer_state: Any = None) -> None:
    """
    Call reward functions of the user's own on a few rows, with made-up completions: one with the gold, one without.

    Args:
        functions (`Sequence`):
            Reward functions. Reward models among them, this package's own and TRL's are passed over.
        rows (`Sequence[Mapping[str, Any]]`):
            Training rows with decoded pictures.
        trainer_state ([`~transformers.TrainerState`], *optional*):
            What to pass under that name.

    Raises:
        [`BadInputError`]: A function asks for a column that is not there, takes no `**kwargs`, raises, or returns
            anything but one number or `None` for each completion.
    """
    texts = [
        f"<think>One step.</think> <answer>{row.get('solution', '1')}</answer>"
        if number % 2 == 0
        else "I do not know."
        for number, row in enumerate(rows)
    ]
    for function in functions:
        if is_plain(function) and not is_ours(function):
            call_reward(function, rows, texts, [list(range(1, 9))] * len(rows), trainer_state)


def is_plain(function: Any) -> bool:
    """Whether something is a callable other than a reward model."""
    from torch import nn

    return callable(function) and not isinstance(function, nn.Module)


def call_reward(
    function: Callable[..., Any],
    rows: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    completion_ids: list[list[int]],
    trainer_state: Any = None,
) -> list[float | None]:
    """
    Call a reward function as TRL does.

    Args:
        function (`Callable`):
            The reward function.
        rows (`Sequence[Mapping[str, Any]]`):
            Training rows; every column but the prompt is passed as a list.
        texts (`Sequence[str]`):
            One completion per row.
        completion_ids (`list[list[int]]`):
            Its tokens.
        trainer_state ([`~transformers.TrainerState`], *optional*):
            What to pass under that name.

    Returns:
        `list[float | None]`: One value per row.

    Raises:
        [`BadInputError`]: See [`try_rewards`].
    """
    spoken = not isinstance(rows[0]["prompt"], str)
    columns = {name: [row[name] for row in rows] for name in rows[0] if name not in NOT_PASSED}
    arguments = (
        {"generation_prompt": [""] * len(rows)}
        | columns
        | {
            "prompts": [row["prompt"] for row in rows],
            "completions": [[{"role": "assistant", "content": text}] for text in texts] if spoken else list(texts),
            "completion_ids": completion_ids,
            "trainer_state": trainer_state,
            "log_extra": lambda name, values: None,
            "log_metric": lambda name, value: None,
        }
    )
    _check_signature(function, arguments)
    try:
        returned = function(**arguments)
        if inspect.isawaitable(returned):
            returned = _finish(returned)
    except BadInputError:
        raise
    except Exception as error:  # a reward may be anybody's code
        raise BadInputError(
            f"The reward function {reward_name(function)} fails on rows of this dataset: {type(error).__name__}: "
            f"{_line(error)}. It is called with {', '.join(sorted(arguments))}."
        ) from error
    return reward_values(function, returned, len(rows))


def _finish(awaitable: Any) -> Any:
    """Wait for an async reward, in a thread with a loop of its own: the caller may be inside another one."""
    result: list[Any] = []

    async def run() -> None:
        result.append(await awaitable)

    error: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(run())
        except Exception as raised:
            error.append(raised)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if error:
        raise error[0]
    return result[0]


def _check_signature(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse a function that could not be called at all, by its parameters."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        return
    columns = sorted(set(arguments) - set(PASSED))
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise BadInputError(
            f"The reward function {reward_name(function)} asks for {missing[0]!r}, which is no column of the prepared "
            f"rows.{did_you_mean(missing[0], columns)} There are {', '.join(columns)}; and TRL passes "
            f"{', '.join(PASSED)}."
        )
    if not open_ended and (unknown := sorted(set(arguments) - set(named))):
        raise BadInputError(
            f"The reward function {reward_name(function)} takes no **kwargs, and is called with all columns of the "
            f"rows, such as {unknown[0]!r}. Add **kwargs to its parameters."
        )


def reward_values(function: Any, returned: Any, count: int) -> list[float | None]:
    """
    Return what a reward function returned as numbers.

    Raises:
        [`BadInputError`]: It is anything but one number or `None` for each of the `count` completions.
    """
    wrong = f"The reward function {reward_name(function)} returned"
    right = f"It must return a list with one number (or None) for each of {count} completions."
    try:
        listed = None if isinstance(returned, str | bytes | Mapping) else list(returned)
    except TypeError:
        listed = None
    if listed is None:
        raise BadInputError(f"{wrong} {_shown(returned)}. {right}")
    values: list[float | None] = []
    for value in listed:
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            values.append(None if value is None else float(value))
        except (TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: a tensor of several numbers
            raise BadInputError(f"{wrong} {_shown(value)} for completion {len(values)}. {right}") from None
    if len(values) != count:
        raise BadInputError(f"{wrong} {len(values)} values. {right}")
    return values


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or "without a message"


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:60] + '...'}"


def watched(function: Any, where: Callable[[], str]) -> Any:
    """
    Wrap a reward function, so that its failure ends the training in words.

    Args:
        function (`Callable`):
            A reward function; anything else is returned as it is.
        where (`Callable[[], str]`):
            Says at what step and on which prompts it is called, and what is safe.

    Returns:
        `Callable`: Raises [`TrainingStopped`] where `function` raises (or returns what is no reward), and is
        asynchronous where it is.
    """
    from torch import OutOfMemoryError

    if not is_plain(function):
        return function
    known = (BadInputError, TrainingStopped, OutOfMemoryError)  # they have words of their own

    def stopped(reason: str) -> TrainingStopped:
        return TrainingStopped(f"The reward function {reward_name(function)} {reason}. {where()}")

    def checked(returned: Any, count: int) -> list[float | None]:
        try:
            return reward_values(function, returned, count)
        except BadInputError as error:
            name = f"The reward function {reward_name(function)} "
            raise stopped(str(error).removeprefix(name).rstrip(".")) from error

    def failed(error: Exception) -> TrainingStopped:
        return stopped(f"raised {type(error).__name__}: {_line(error)}")

    async def wait(**arguments: Any) -> list[float | None]:
        try:
            returned = await function(**arguments)
        except known:
            raise
        except Exception as error:
            raise failed(error) from error
        return checked(returned, len(arguments["completions"]))

    def call(**arguments: Any) -> list[float | None]:
        try:
            returned = function(**arguments)
        except known:
            raise
        except Exception as error:
            raise failed(error) from error
        return checked(returned, len(arguments["completions"]))

    core = function
    while isinstance(core, functools.partial):
        core = core.func
    asynchronous = inspect.iscoroutinefunction(core) or inspect.iscoroutinefunction(type(core).__call__)
    return wait if asynchronous else call
