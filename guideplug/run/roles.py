"""The roles of a run and the recipe of each: the user's, a recipe's expression, a file, or what a strategy needs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from guideplug.config import Reader, parse, rewrite
from guideplug.config.tree import Call, Value, is_name
from guideplug.errors import CheckpointError, ExpressionError, RecipeError, UnknownName
from guideplug.files.opening import is_there
from guideplug.recipe import MainRecipe, Recipe
from guideplug.run.architecture import architecture_of_file, fitting_architecture
from guideplug.sample import Sampler
from guideplug.task import Network

__all__ = ["Roles"]


class Roles:
    """The recipes of the roles, each resolved once; a role that needs itself is refused."""

    def __init__(
        self,
        reader: Reader,
        main: MainRecipe,
        sampler: Sampler,
        given: Mapping[str, Any],
        changes: Mapping[str, list[tuple[str, Value]]],
        *,
        check_files: bool = True,
    ) -> None:
        self._main, self._sampler, self._given, self.changed, self._reader = main, sampler, given, changes, reader
        self._check_files = check_files
        self._open: list[str] = []
        self.known: dict[str, Recipe] = {}

    def main_is(self, main: MainRecipe) -> None:
        """From now on "main" in a recipe is the main network as trained, with its selector."""
        self._main = main
        if "main" in self.known:
            self.known["main"] = main

    def sampler_is(self, sampler: Sampler) -> None:
        """From now on recipes that name no sampler have this one."""
        self._sampler = sampler

    def needed(self, needs: Mapping[str, Recipe | str | None], who: str) -> dict[str, Recipe]:
        """The recipes of the roles that a strategy needs: the user's, else its own, which may be an expression."""
        recipes: dict[str, Recipe] = {}
        for role, default in needs.items():
            if role == "main":
                raise RecipeError(f"{who} asks for the role 'main', which is the network itself: name another role")
            if not is_name(role):
                raise RecipeError(f"{who} asks for the role {role!r}: a role is a letter, then letters, digits, - or _")
            recipe = self.named(role, default)
            if recipe is None:
                raise RecipeError(
                    f"{who} needs a network for its role {role!r}, and task {self._main.task.name!r} has no recipe for "
                    f"it: give --model {role}=PATH, or a recipe such as --model {role}='train(duration=512it)'"
                )
            recipes[role] = recipe
        return recipes

    def named(self, role: str, default: Recipe | str | None = None) -> Any:
        """The recipe of one role."""
        if role == "main" and "main" not in self._given:
            return self._main
        if role in self.known:
            has_default = default is not None and role not in self._given and not self.changed.get(role)
            if has_default and self._read(role, default) != self.known[role]:
                raise RecipeError(f"the role {role!r} is used for two different networks: name one of them otherwise")
            return self.known[role]
        if role in self._open:
            circle = " -> ".join([*self._open[self._open.index(role) :], role])
            raise RecipeError(f"the recipes of the roles go round in a circle: {circle}")
        self._open.append(role)
        recipe = self._read(role, default)
        for option_name, value in self.changed.get(role, []):
            if recipe is None:
                raise RecipeError(f"--set models.{role}.{option_name}: the role has no recipe; give --model {role}=...")
            reader = attrs.evolve(self._reader, unstated=self._unstated(self._like(default)))
            recipe = reader.replaced(recipe, option_name, value, f"models.{role}")
        self._open.pop()
        if recipe is not None:
            try:
                if self._check_files or recipe.stored:  # a check of an unstored recipe reads files, or runs code
                    recipe.check()
            except (CheckpointError, ValueError) as error:
                raise RecipeError(f"--model {role}: {error}") from None
            self.known[role] = recipe
        return recipe

    def _read(self, role: str, default: Recipe | str | None) -> Recipe | None:
        model = self._given.get(role, default)
        if isinstance(model, MainRecipe) and model.start == self._main.start:
            return model.with_options(start=None)  # a guide like main does not start from main's weights
        if model is None or isinstance(model, Recipe):
            return model
        path = f"models.{role}"
        like = self._like(default)
        if role in self._given and isinstance(model, str) and self._is_path(model):
            if model.endswith(".py"):
                raise RecipeError(f"--model {role}={model} is code: name the function, as in python('{model}:build')")
            own = self._kind(default)
            read = None if own is None else own.from_file(str(Path(model).absolute()))
            if read is not None:
                return read
            try:
                architecture = self._architecture(like.denoiser)(model)
            except CheckpointError as error:
                raise RecipeError(f"--model {role}: {error}") from None
            return like.reading(str(Path(model).absolute()), architecture)
        names = _Names(self)
        inherited = {(Recipe.kind, "seed"): like.seed}
        unstated = self._unstated(like)
        reader = attrs.evolve(self._reader, named={Recipe: names}, unstated=unstated, inherited=inherited)
        try:
            recipe: Recipe = reader.read(model, Recipe, path)
        except ExpressionError as error:
            raise ExpressionError(f"{path}: {error}") from None
        except UnknownName as error:
            raise UnknownName(f"{path} is {model!r}, neither a file nor a recipe: {error}") from None
        recipe = rewrite(recipe, lambda one: one.with_architecture(self._architecture(like.denoiser)), Recipe)
        recipe = rewrite(recipe, self._filled, Recipe)
        return recipe.with_roles(
            {name: known_recipe for name, known_recipe in self.known.items() if name not in ("main", role)}
        )

    def _architecture(self, default: Network) -> Callable[..., Network]:
        """The architecture of a file of weights, by its path and key.

        For a file that names none it is the default one or that of the main network, whichever has its weights.
        """
        candidates = [default, self._main.denoiser] if default != self._main.denoiser else [default]
        return lambda path, key=None: (
            architecture_of_file(path, self._reader, key)
            or fitting_architecture(path, key, candidates, self._main.task)
        )

    def _like(self, default: Recipe | str | None) -> MainRecipe:
        return default if isinstance(default, MainRecipe) else self._main

    def _unstated(self, like: MainRecipe) -> dict[str, Any]:
        """Values of unstated options without a default: those of a training, and of the run."""
        unstated = {attribute.name: getattr(like, attribute.name) for attribute in attrs.fields(cast(Any, type(like)))}
        del unstated["on"]  # a fine-tune must state its data
        main = self.known.get("main", self._main)
        return unstated | {"of": main, "sampler": self._sampler, "selector": None, "models": {}}

    def _filled(self, recipe: Recipe) -> Recipe:
        """The recipe with the run's networks for guiders that draw samples of the main network, and for selectors.

        Recipes that sample another network keep their own: the roles of the run belong to the main network.
        """
        left_open = recipe.open_roles
        if left_open is None or left_open.of not in (None, self.known.get("main", self._main)):
            return recipe
        return recipe.filled(self.needed(left_open.needs, left_open.who))

    def _kind(self, default: Recipe | str | None) -> type[Recipe] | None:
        """The class of a role's default recipe."""
        if default is None or isinstance(default, Recipe):
            return None if default is None else type(default)
        tree = parse(default)
        cls = self._reader.catalog.find(Recipe.kind, tree.name) if isinstance(tree, Call) else None
        return cls if isinstance(cls, type) and issubclass(cls, Recipe) else None

    def _is_path(self, text: str) -> bool:
        """Whether a model is a file or folder: a recipe's name is the recipe, ``./NAME`` the folder of that name."""
        if text.endswith((".safetensors", ".pt", ".pth", ".pkl", ".ckpt", ".bin")):
            return True
        try:
            return is_there(Path(text)) and text not in self._reader.catalog.names(Recipe.kind)
        except (OSError, ValueError):  # the text is no valid path, so it is an expression
            return False


class _Names(Mapping[str, Recipe]):
    """Role names that a recipe may refer to; resolved on lookup."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    def _names(self) -> list[str]:
        return ["main", *self._roles._given, *self._roles.known]

    def __contains__(self, role: object) -> bool:
        return role in self._names()

    def __getitem__(self, role: str) -> Recipe:
        recipe: Recipe = self._roles.named(role)
        return recipe

    def __iter__(self) -> Any:
        return iter(dict.fromkeys(self._names()))

    def __len__(self) -> int:
        return len(set(self._names()))
