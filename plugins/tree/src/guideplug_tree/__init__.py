"""The 2D tree: a task whose truth is known, its denoiser, its metrics and its figure."""

from collections.abc import Mapping

from guideplug import Network, Task, hook
from guideplug_tree.denoisers import ExactTree, LabelledExactTree, TreeMLPNetwork
from guideplug_tree.mixture import TreeMixture, tree_mixture
from guideplug_tree.task import Tree

__all__ = ["ExactTree", "LabelledExactTree", "Tree", "TreeMLPNetwork", "TreeMixture", "tree_mixture"]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Tree]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [TreeMLPNetwork]


@hook
def guideplug_presets() -> Mapping[str, Mapping[str, str]]:
    """The task of a run that names none."""
    return {"task": {"default": "tree"}}
