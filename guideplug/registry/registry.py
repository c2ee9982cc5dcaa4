"""The registry: which plugins are installed, what they offer, and which are broken.

Entry points of the group ``guideplug`` are loaded one at a time. A plugin that cannot be imported, misspells a hook,
was written for another API version, or offers an invalid class is listed with the reason, and stops only runs that
need it. A name offered by two distributions is unusable until one of them is uninstalled.
Plugins that ``GUIDEPLUG_DISABLE`` names, or whose distribution it names, are listed and not loaded.
"""

import contextlib
import importlib.metadata
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import attrs
import pluggy

from guideplug.config import Strategy, command_line
from guideplug.config.tree import PAIRED, Call, strategy_name
from guideplug.denoise import WeightSchedule, api1
from guideplug.errors import ExpressionError, PluginError, UnknownName, nearest
from guideplug.executors import Executor, Processes, Serial
from guideplug.features import Features
from guideplug.files.import_guard import ImportGuard
from guideplug.files.modules import Modules
from guideplug.files.opened import code_of_file
from guideplug.files.project import ProjectPlugin
from guideplug.guide import Guider
from guideplug.noise import LogNormal, LogUniform
from guideplug.objective import Objective
from guideplug.observe import Observer
from guideplug.observers import Measure, Preview
from guideplug.recipe import Recipe
from guideplug.recipes import Augmented, FineTune, Load, PostHoc, Resampled, Snapshot, Synthetic, Train, WithoutLayers
from guideplug.recipes.degraded import Degraded
from guideplug.recipes.python_ref import ImportedDenoiser, ImportedNetwork
from guideplug.registry import hookspecs, names
from guideplug.registry.loaded import note_loaded
from guideplug.registry.signatures import check_signatures
from guideplug.reward import Reward
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.study import Study
from guideplug.task import Metric, Network, Task
from guideplug.train import Constant, Cosine, Denoising, InverseSqrt

__all__ = ["Offer", "Plugin", "Registry"]

KINDS: Mapping[str, type[Strategy]] = {
    "guideplug_guiders": Guider,
    "guideplug_weights": WeightSchedule,
    "guideplug_selectors": Selector,
    "guideplug_samplers": Sampler,
    "guideplug_denoisers": Network,
    "guideplug_tasks": Task,
    "guideplug_recipes": Recipe,
    "guideplug_rewards": Reward,
    "guideplug_objectives": Objective,
    "guideplug_metrics": Metric,
    "guideplug_features": Features,
    "guideplug_studies": Study,
    "guideplug_observers": Observer,
    "guideplug_executors": Executor,
}

_OWN_FOLDER = str(Path(__file__).parents[1]) + os.sep

S = TypeVar("S", bound=Strategy)


@attrs.frozen
class Offer:
    """One thing a plugin offers: a strategy's class, or the expression of a preset."""

    kind: str
    name: str
    plugin: str
    what: type[Strategy] | str


@attrs.define
class Plugin:
    """A plugin: an entry point of a distribution, a local file, or the core itself."""

    name: str
    distribution: str
    version: str
    origin: str
    broken: str = ""
    disabled: bool = False
    offers: list[Offer] = attrs.field(factory=list)
    digest: str = ""
    old: list[str] = attrs.field(factory=list)
    """Parts written for plugin API 1, and their replacements."""
    project: str = ""
    """The path of the ``guideplug.toml`` that names a local file; empty without one."""

    def __str__(self) -> str:
        if self.version:
            return f"{self.distribution} {self.version}"
        return f"the local file {self.origin}{f', of {self.project}' if self.project else ''}"


class Registry:
    """The plugins in use. A new registry holds the core's own recipes; `load_installed` adds the installed plugins."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._offers: dict[tuple[str, str], list[Offer]] = {}
        core = Plugin("core", "guideplug", _version("guideplug"), "the core")
        # The core's own strategies are offered as those of a plugin; nothing else here names them.
        recipes = (Train, FineTune, Load, Snapshot, PostHoc, Degraded, WithoutLayers, ImportedDenoiser)
        data = (Synthetic, Augmented, Resampled)
        training = (Constant, InverseSqrt, Cosine, LogNormal, LogUniform, Denoising)
        strategies = (*recipes, *data, ImportedNetwork, *training, Preview, Measure, Serial, Processes)
        core.offers = [Offer(cls.kind, cls.name, core.name, cls) for cls in strategies]
        self._add(core)

    @classmethod
    def installed(cls, files: Sequence[str] = ()) -> "Registry":
        """A registry of all installed plugins, and of local files.

        Raises:
            PluginError: a local file cannot be used.
            TrustError: in a command, a file that its user has neither named nor trusted.
        """
        registry = cls()
        registry.load_installed()
        for path in files:
            registry.load_file(Path(path), path.project if isinstance(path, ProjectPlugin) else None)
        return registry

    def load_installed(self) -> None:
        """Load the entry points of every installed distribution; broken and disabled plugins are listed."""
        points = sorted(importlib.metadata.entry_points(group=names.GROUP), key=lambda point: point.name)
        stamps = [names.stamp_of(point) for point in points]
        before, guard = set(sys.modules), ImportGuard()
        left_out, met = self._load_points(points, stamps, guard, one_by_one=False)
        if guard.put_back_names():  # by which plugin, is seen by importing what is new once more
            for module in set(sys.modules) - before:
                if module.partition(".")[0] in {point.module.partition(".")[0] for point in points}:
                    del sys.modules[module]
            self.__init__()  # type: ignore[misc]
            self._load_points(points, stamps, ImportGuard(), one_by_one=True)
        for unknown in (text for text in left_out if text not in met | _warned):
            _warned.add(unknown)
            near = nearest(unknown, met - {"*"})
            sys.stderr.write(f"warning: GUIDEPLUG_DISABLE names {unknown!r}{near}, which is no installed plugin\n")
        if not left_out:
            names.remember(
                {plugin.name: _by_kind(plugin) for plugin in self.plugins},
                {point.name: stamp for point, stamp in zip(points, stamps, strict=True)},
            )

    def _load_points(
        self,
        points: Sequence[importlib.metadata.EntryPoint],
        stamps: Sequence[list[Any] | None],
        guard: ImportGuard,
        *,
        one_by_one: bool,
    ) -> tuple[list[str], set[str]]:
        """Load entry points; the names that ``GUIDEPLUG_DISABLE`` holds, and those that it could."""
        left_out, met = names.disabled(), set[str]()
        for point, stamp in zip(points, stamps, strict=True):
            name, version, _ = stamp or (point.value, "?", 0)
            plugin = Plugin(point.name, name, version, point.value)
            called = {text.replace("_", "-").lower() for text in (plugin.name, name)} | {"all", "*"}
            met |= called
            if called.isdisjoint(left_out):
                self._load(plugin, point.load, guard.watch(point.module, names=one_by_one))
            else:
                plugin.disabled = True
                self._add(plugin)
        return list(left_out), met

    def load_file(self, path: Path, project: Path | None = None) -> None:
        """Load a local Python file as a plugin; its code is executed.

        Args:
            path: the file.
            project: the ``guideplug.toml`` that names it.

        Raises:
            PluginError: the file is missing or unusable; the reason.
        """
        who = f"--plugin {path}" if project is None else f"{project}: {path}"
        if not path.is_file():
            raise PluginError(f"{who}: no such file")
        if path.suffix != ".py":
            raise PluginError(f"{who} is no Python file: its name must end in .py")
        try:
            code = code_of_file(path.absolute(), "plugins" if project is None else str(project))
        except (OSError, ValueError) as error:
            raise PluginError(f"{who} cannot be read: {error}") from None
        origin = path.parent.resolve() / path.name  # a link keeps its name
        plugin = Plugin(path.stem, path.name, "", str(origin), project="" if project is None else str(project))
        plugin.digest = code.digest
        module = Modules(code, f"guideplug_local_{path.stem.replace('.', '_')}")
        self._load(plugin, module.main, ImportGuard().watch())
        if plugin.broken:
            raise PluginError(f"{who}: {plugin.broken}")
        if not plugin.offers:
            raise PluginError(f"{who} offers nothing: mark a hook with @guideplug.hook")
        if project is not None:
            names.remember_file(code.digest, {plugin.name: _by_kind(plugin)})

    def _load(self, plugin: Plugin, load: Callable[[], Any], watched: AbstractContextManager[None]) -> None:
        try:
            with watched:
                module = load()
                _check_api(plugin, module)
                self._register(plugin, module)
            note_loaded(plugin.name, plugin.distribution, plugin.version, plugin.digest)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an import may raise anything, SystemExit included
            plugin.broken = _reason(error)
            plugin.offers = []
            with contextlib.suppress(ValueError):
                self._pluggy.unregister(name=_registered_as(plugin))
        self._add(plugin)

    def _register(self, plugin: Plugin, module: ModuleType) -> None:
        self._check_names(module)
        self._pluggy.register(module, _registered_as(plugin))
        self._pluggy.check_pending()
        for caller in self._pluggy.get_hookcallers(module) or []:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is module:
                    self._take(plugin, caller.name, implementation.function())

    def _check_names(self, module: ModuleType) -> None:
        known = [name for name in vars(hookspecs) if name.startswith("guideplug_")]
        for name, value in vars(module).items():
            marked = hasattr(value, f"{hookspecs.PROJECT}_impl")
            if marked and name not in known:
                raise PluginError(f"implements an unknown hook {name!r}{nearest(name, known)}")
            if name.startswith("guideplug_") and callable(value) and not marked:
                raise PluginError(f"{name} is not marked as a hook: put @guideplug.hook above it")

    def _take(self, plugin: Plugin, hook: str, offered: Any) -> None:
        if hook == "guideplug_presets":
            for kind, presets in dict(offered).items():
                kinds = [known.kind for known in KINDS.values()]
                if kind not in kinds:
                    raise PluginError(
                        f"{hook} names the kind {kind!r}{nearest(kind, kinds)}: it is one of {', '.join(kinds)}"
                    )
                for name, text in dict(presets).items():
                    _check_free(name, hook)
                    plugin.offers.append(Offer(kind, strategy_name(name), plugin.name, str(text)))
        else:
            for cls in offered:
                _check_class(cls, KINDS[hook], hook)
                check_signatures(cls, KINDS[hook])
                plugin.offers.append(Offer(KINDS[hook].kind, cls.name, plugin.name, cls))

    def _add(self, plugin: Plugin) -> None:
        self.plugins.append(plugin)
        for offer in plugin.offers:
            self._offers.setdefault((offer.kind, offer.name), []).append(offer)

    # Lookup

    def names(self, kind: str) -> list[str]:
        """The names known for a kind, presets included, sorted."""
        return sorted(name for offered, name in self._offers if offered == kind)

    def find(self, kind: str, name: str) -> type[Strategy] | str:
        """The class of a strategy, or the expression of a preset.

        Raises:
            UnknownName: there is no such name; the message lists near names and broken plugins.
            PluginError: two plugins offer the name.
        """
        name = strategy_name(name)
        offers = self._offers.get((kind, name), [])
        if len(offers) == 1:
            return offers[0].what
        if offers:
            sources = " and ".join(str(plugin) for plugin in self.plugins for offer in plugin.offers if offer in offers)
            raise PluginError(f"{kind} {name!r} is offered by {sources}: uninstall one of them")
        known = self.names(kind)
        near = nearest(name, known)
        others = sorted({offer.kind for plugin in self.plugins for offer in plugin.offers if offer.name == name})
        if others and not near:
            raise UnknownName(
                f"{name!r} is a {others[0]}, and a {kind} is needed here; known: {', '.join(known) or 'none'}"
            )
        listed = "" if near else f"; known: {', '.join(known) or 'none'}"
        left_out = [plugin for plugin in self.plugins if plugin.disabled]
        offered = names.known(without_disabled=False) if left_out else {}
        for plugin in left_out:
            if name in (plugin.name, *offered.get(plugin.name, {}).get(kind, ())):
                raise UnknownName(
                    f"{kind} {name!r} is of plugin {plugin.name!r}, which GUIDEPLUG_DISABLE leaves out: take it out of "
                    "that variable"
                )
        broken = [plugin for plugin in self.plugins if plugin.broken]
        blame = "".join(f"; plugin {plugin.name!r} is broken: {plugin.broken}" for plugin in broken[:2])
        if left_out:
            blame += f"; GUIDEPLUG_DISABLE leaves out {', '.join(plugin.name for plugin in left_out)}"
        raise UnknownName(
            f"no {kind} is called {name!r}{near}{listed}{blame}; see {command_line('plugins', 'list')}, or name a "
            "file of yours with --plugin FILE.py"
        )

    def classes(self, kind: type[S]) -> list[type[S]]:
        """The strategies of a kind with a unique name."""
        registered = [self._offers[(kind.kind, name)] for name in self.names(kind.kind)]
        return [cast(type[S], offers[0].what) for offers in registered if len(offers) == 1 and not _is_text(offers[0])]

    def plugin(self, name: str) -> Plugin:
        """A plugin by its name.

        Raises:
            UnknownName: there is none.
        """
        for plugin in self.plugins:
            if plugin.name == name:
                return plugin
        known = [plugin.name for plugin in self.plugins]
        raise UnknownName(f"no plugin is called {name!r}{nearest(name, known)}; known: {', '.join(known)}")

    def conflicts(self) -> list[list[Offer]]:
        """Names that several plugins offer."""
        return [offers for offers in self._offers.values() if len(offers) > 1]


_warned: set[str] = set()
"""Unknown names of ``GUIDEPLUG_DISABLE`` that this process has warned of."""


def _registered_as(plugin: Plugin) -> str:
    return f"{plugin.name} of {plugin.distribution}"


def _check_api(plugin: Plugin, module: ModuleType) -> None:
    """Refuse a module for another API version, and one that declares the newest and uses an older one."""
    version = getattr(module, "GUIDEPLUG_API", None)
    plugin.old = api1.notes(module.__name__)
    if version is None:
        return
    if type(version) is not int:
        raise PluginError(
            f"GUIDEPLUG_API is {version!r}: give a whole number, {hookspecs.API_VERSION} for this guideplug"
        )
    if version not in hookspecs.SUPPORTED:
        raise PluginError(
            f"was written for plugin API {version}, this guideplug has {' and '.join(map(str, hookspecs.SUPPORTED))}: "
            f"{'update guideplug' if version > hookspecs.API_VERSION else f'update {plugin.distribution}'}"
        )
    if version == hookspecs.API_VERSION and plugin.old:
        raise PluginError(f"says GUIDEPLUG_API = {version}, and {plugin.old[0]}; or say GUIDEPLUG_API = 1")


def _by_kind(plugin: Plugin) -> dict[str, list[str]]:
    """The names of what a plugin offers."""
    names: dict[str, list[str]] = {}
    for offer in plugin.offers:
        names.setdefault(offer.kind, []).append(offer.name)
    return names


def _is_text(offer: Offer) -> bool:
    return isinstance(offer.what, str)


def _check_class(cls: Any, kind: type[Strategy], hook: str) -> None:
    """Refuse a class that breaks a rule of strategies; the message names the rule."""
    if not inspect.isclass(cls) or not issubclass(cls, kind):
        raise PluginError(f"{hook} returned {cls!r}: return subclasses of guideplug.{kind.__name__}")
    where = f"{hook}: {cls.__qualname__}"
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise PluginError(f"{where} does not implement {missing}")
    name = cls.__dict__.get("name")
    if not isinstance(name, str) or not _is_name(name):
        raise PluginError(f"{where} has the name {name!r}: give it one in lower case, words joined by '-'")
    _check_free(name, where)
    if not attrs.has(cls) or cls.__setattr__.__name__ != "_frozen_setattrs":
        raise PluginError(f"{where} is not frozen: decorate it with @attrs.frozen")
    for attribute in attrs.fields(cls):
        if attribute.init and not attribute.metadata.get("help"):
            raise PluginError(
                f"{where} does not say what its option {attribute.name!r} does: use guideplug.option(help=...)"
            )


def _check_free(name: str, where: str) -> None:
    """Refuse a name that is reserved in expressions."""
    if strategy_name(name) == PAIRED:
        raise PluginError(f"{where}: the name {name!r} is taken, zip(...) makes ranges go side by side: give another")


def _is_name(name: str) -> bool:
    """Whether expressions can call a name, in its canonical spelling."""
    try:
        return Call(name).name == name.lower()
    except ValueError:
        return False


def _reason(error: BaseException) -> str:
    """One line: the error, and its place in the plugin."""
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, PluginError | ExpressionError):
        return text
    if isinstance(error, pluggy.PluginValidationError):
        return text
    trace = error.__traceback__
    where = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "importlib" not in file and not file.startswith("<") and not file.startswith(_OWN_FOLDER):
            where = f" in {Path(file).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{where}"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
