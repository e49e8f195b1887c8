"""Steps: a function, its name, and how it wants to be run."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from headrace.pipelines.handover import hints_of

Kind = Literal["step", "gate"]


@dataclass(frozen=True)
class StepSpec:
    """What a decorator knows about a step.

    Attributes:
        name: How people call it.
        kind: A gate returns nothing; its failing assertion stops every effect written below it.
        function: The user's function.
        effect: Changes the world outside the run; waits for every gate written above it.
        cache: Whether a finished call is taken from the ledger instead of run again.
        main_process: Runs where the run was started (it submits children itself).
        environment: Environment variables it reads; their values enter its key.
    """

    name: str
    kind: Kind
    function: Callable[..., Any]
    effect: bool = False
    cache: bool = True
    main_process: bool = False
    environment: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """``module:qualname`` of the function."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    @cached_property
    def signature(self) -> inspect.Signature:
        """Of the function."""
        return inspect.signature(self.function)

    @property
    def outputs(self) -> int | None:
        """How many values a fixed ``tuple[…]`` return annotation promises; None for a single value."""
        hint = hints_of(self.function).get("return")
        arguments = typing.get_args(hint)
        fixed = typing.get_origin(hint) is tuple and arguments and Ellipsis not in arguments
        return len(arguments) if fixed else None

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Parameter name to argument, defaults filled in; raise ``TypeError`` as a call would."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with arguments by parameter name."""
        bound = inspect.BoundArguments(self.signature, dict(arguments))
        return self.function(*bound.args, **bound.kwargs)
