"""`CannotExpress`: what another program has no words for."""

from __future__ import annotations


class CannotExpress(ValueError):
    """A module or its weights mean something that the other program cannot say; with the reason."""

    placed = False  # whether the message says where in the model

    def at(self, path: str, what: str) -> CannotExpress:
        """This error, of a class `what` at the dotted `path` of a model, said by the innermost."""
        if self.placed:
            return self
        made = CannotExpress(f"{what}{f' ({path})' if path else ''}: {self}")
        made.placed = True
        return made
