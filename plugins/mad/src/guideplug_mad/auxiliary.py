r"""The copy of a generation that SIMS guides away from.

What a loop with SIMS gives at generation t are samples of G_t that are guided as those for the next generation are:

    guideplug run --guider 'sims(omega=1)' --model 'main=generation(number=3, guider=sims(omega=1))' \
        --model 'synthetic=auxiliary(of=main)'

In a run's configuration it is written as what it is, a fine-tune.
"""

from collections.abc import Iterable, Mapping
from typing import Any, final

from attrs import frozen
from torch import nn

from guideplug import Builder, FineTune, Planned, Recipe, option
from guideplug_mad.generation import Generation

__all__ = ["Auxiliary"]


@final
@frozen(kw_only=True)
class Auxiliary(Recipe):
    """The copy of a generation's network fine-tuned on its samples, equal to that of the loop."""

    name = "auxiliary"
    stored = False
    of: Recipe = option(help="the generation: generation(...)")

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.of, Generation):
            raise ValueError(f"of is the recipe {self.of.name!r}: give generation(...)")

    @property
    def copy(self) -> FineTune:
        """The fine-tune that it means."""
        assert isinstance(self.of, Generation)
        return self.of.copy

    def with_roles(self, roles: Mapping[str, Recipe]) -> Recipe:
        """The fine-tune itself, for a role of a run."""
        return self.copy

    def evaluates(self) -> Iterable[Planned]:
        """What the fine-tune and its samples evaluate."""
        yield from self.copy.evaluates()
        assert isinstance(self.copy.on, Recipe)
        yield from self.copy.on.evaluates()

    def build(self) -> nn.Module:
        return self.copy.build()

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Obtain the fine-tune."""
        module.load_state_dict(builder.obtain(self.copy).state_dict())
        return {}
