"""What can be wrong with a template. The texts are Go's, so that who knows them finds them.

GoTemplateError
├── ParseError       it does not parse:      template: :3: unclosed action
└── ExecutionError   it fails when it runs:  template: :3:7: executing "" at <.X>: can't evaluate field X in type string
    └── TooMuch      it does more than a template may
"""

from __future__ import annotations


class GoTemplateError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ParseError(GoTemplateError):
    pass


class ExecutionError(GoTemplateError):
    pass


class TooMuch(ExecutionError):
    pass


class Refusal(Exception):
    """A function does not take what it was given. The evaluator says where."""


class Excess(Exception):
    """A function would make something too large. The evaluator says where."""
