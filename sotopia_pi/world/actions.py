"""Actions and turns: what a side can do when it is its turn."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

ActionType = Literal["none", "speak", "non-verbal communication", "action", "leave"]
ACTION_TYPES: tuple[ActionType, ...] = get_args(ActionType)


@dataclass(frozen=True)
class Action:
    """One action: a type of `ACTION_TYPES` and its argument.

    argument: the words said, or the gesture or deed described; empty for `none`,
    optional for `leave`. Raises ValueError on an unknown type or an empty argument
    where one is needed.
    """

    type: ActionType
    argument: str = ""

    def __post_init__(self):
        if self.type not in ACTION_TYPES:
            raise ValueError(f"action type {self.type!r} is not one of {', '.join(ACTION_TYPES)}")
        if self.type not in ("none", "leave") and not self.argument.strip():
            raise ValueError(f"an action of type {self.type!r} needs an argument, got an empty one")

    def to_dict(self) -> dict[str, str]:
        return {"type": self.type, "argument": self.argument}

    @classmethod
    def from_dict(cls, record: dict[str, str]) -> "Action":
        return cls(record["type"], record.get("argument", ""))

    def told(self, name: str) -> str:
        """The action as a third person tells it: `Mia said: "…"`, `Mia left`."""
        match self.type:
            case "speak":
                return f'{name} said: "{self.argument}"'
            case "none":
                return f"{name} did nothing"
            case "leave":
                return f"{name} left the conversation"
            case "non-verbal communication":
                return f"{name} [non-verbal communication] {self.argument}"
            case _:
                return f"{name} [action] {self.argument}"


@dataclass(frozen=True)
class Turn:
    """One turn of an episode.

    index: 0-based position in the episode; side: 0 or 1. `failed` marks a `none` that stands
    in for an output nobody could parse: it is never the same thing as a chosen `none`.
    calls: one record per model call behind the turn (raw text, token ids, outcome, usage, model),
    empty for scripted policies. Latencies live in `timing` and are no part of equality.
    """

    index: int
    side: int
    action: Action
    failed: bool = False
    calls: tuple[dict[str, Any], ...] = ()
    timing: dict[str, float] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "side": self.side,
            **self.action.to_dict(),
            "failed": self.failed,
            "calls": list(self.calls),
            "timing": dict(self.timing),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Turn":
        return cls(
            index=record["index"],
            side=record["side"],
            action=Action.from_dict(record),
            failed=record.get("failed", False),
            calls=tuple(record.get("calls", ())),
            timing=record.get("timing", {}),
        )
