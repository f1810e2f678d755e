"""Keys of the targets besides the run: no result of a run depends on them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sizes = tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...]


class Section(BaseModel):
    """Keys with values, each with a docstring; others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class AcceptSettings(Section):
    """Given with the target `accept`, such as --config accept='{reason: "new weights"}'."""

    reason: str | None = None
    """Why this run becomes the baseline; needed where it is forced."""
    who: str | None = None
    """Who accepts; git's user.name where it is not set."""
    force: bool = False
    """Accept a run whose evidence is incomplete or whose gate failed."""

    @model_validator(mode="after")
    def _forced_with_a_reason(self) -> AcceptSettings:
        if self.force and not (self.reason or "").strip():
            raise ValueError("accept.force needs accept.reason, one sentence")
        return self


class SideSettings(Section):
    """A commit in an environment of its own."""

    python: str
    """The environment's python, such as ../torch-2.14/bin/python, with the packages of envs/ in versions of its own."""
    commit: str = "HEAD"
    """A commit of this project, or `uncommitted`."""


class CompareSettings(Section):
    """Given with the target `compare`, such as --config compare='{a: HEAD~3, b: HEAD}'."""

    a: str | SideSettings | None = None
    """What is there: a commit of this project, `uncommitted` (HEAD with the changes of tracked files), a folder with
    a copy of a model's published code, or {python: path} for an environment. A commit of digits only needs quotes in
    quotes."""
    b: str | SideSettings | None = None
    """What is to be held against it, of the same kind."""
    model: str | None = None
    """Of two folders: whose code they hold; needed where several models are configured."""
    rounds: int = Field(default=6, ge=4, le=1_000)
    """How often both are timed, in turn, in fresh processes; the bounds of latency are over rounds."""


class BisectSettings(Section):
    """Given with the target `bisect`, such as --config bisect='{good: v1.2, bad: HEAD}'."""

    good: str | None = None
    """A commit at which the check holds."""
    bad: str | None = None
    """A later one at which it does not."""
    check: str | None = None
    """Name of the check that is asked, such as mae-not-worse; null: the verdict of the variant, or of the whole gate.
    """
    model: str | None = None
    """Whose check; null: that of every model."""
    variant: str | None = None
    """Whose check; null: that of every variant of the model."""
    repository: str | None = None
    """Checkout of a model's published code, whose commits are searched in place of this project's; needs `model`. Its
    code becomes the implementation `bisected`."""


class SweepSettings(Section):
    """Given with the target `sweep`. One size moves at a time; the others are those of `evaluation` and `timing`."""

    windows: Sizes = (1, 2, 4, 8)
    """Windows in a call."""
    contexts: Sizes | None = None
    """Rows that a model sees; null: half, once and twice `evaluation.context_length`. Empty: not swept."""
    horizons: Sizes | None = None
    """Rows that it forecasts; null: half, once and twice `evaluation.horizon`. Empty: not swept."""
    samples: Sizes | None = None
    """Sample paths; null: half, once and twice `evaluation.samples`. Empty: not swept."""
    processes: int = Field(default=2, ge=1, le=100)
    """Fresh processes in which each size is timed; all sizes come once before any comes again."""
    calls: int = Field(default=10, ge=4, le=100_000)
    """Timed calls in each process."""
    price_per_hour: float | None = Field(default=None, gt=0, le=1_000_000)
    """What an hour of this machine costs, in any currency, for the cost of 1,000 forecasts; null: not said."""
