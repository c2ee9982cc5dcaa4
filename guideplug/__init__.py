"""guideplug: guiders and data selectors for diffusion models, as plugins that compose.

The public names, imported when they are first used, so that ``import guideplug`` is quick and needs no torch.
"""

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guideplug.adapters import Autoencoder as Autoencoder
    from guideplug.adapters import CosineSchedule as CosineSchedule
    from guideplug.adapters import DiscreteSchedule as DiscreteSchedule
    from guideplug.adapters import FlowSchedule as FlowSchedule
    from guideplug.adapters import NoiseSchedule as NoiseSchedule
    from guideplug.adapters import VESchedule as VESchedule
    from guideplug.adapters import VPSchedule as VPSchedule
    from guideplug.adapters import wrap as wrap
    from guideplug.check import Check as Check
    from guideplug.check import check_data as check_data
    from guideplug.check import check_denoiser as check_denoiser
    from guideplug.config import Duration as Duration
    from guideplug.config import Expression as Expression
    from guideplug.config import Source as Source
    from guideplug.config import Strategy as Strategy
    from guideplug.config import along_range as along_range
    from guideplug.config import at_least as at_least
    from guideplug.config import between as between
    from guideplug.config import decides_nothing as decides_nothing
    from guideplug.config import finite as finite
    from guideplug.config import named as named
    from guideplug.config import non_negative as non_negative
    from guideplug.config import option as option
    from guideplug.config import plain_call as plain_call
    from guideplug.config import positive as positive
    from guideplug.config import short as short
    from guideplug.config import up_to as up_to
    from guideplug.config import without_ranges as without_ranges
    from guideplug.denoise import Change as Change
    from guideplug.denoise import Combine as Combine
    from guideplug.denoise import Condition as Condition
    from guideplug.denoise import Denoiser as Denoiser
    from guideplug.denoise import Direction as Direction
    from guideplug.denoise import Domain as Domain
    from guideplug.denoise import Gate as Gate
    from guideplug.denoise import GradientGuided as GradientGuided
    from guideplug.denoise import Leaf as Leaf
    from guideplug.denoise import Level as Level
    from guideplug.denoise import LinearStep as LinearStep
    from guideplug.denoise import LogDensity as LogDensity
    from guideplug.denoise import NoiseDomain as NoiseDomain
    from guideplug.denoise import Output as Output
    from guideplug.denoise import Perturbation as Perturbation
    from guideplug.denoise import PointOutput as PointOutput
    from guideplug.denoise import SharedView as SharedView
    from guideplug.denoise import Space as Space
    from guideplug.denoise import Start as Start
    from guideplug.denoise import Step as Step
    from guideplug.denoise import Value as Value
    from guideplug.denoise import ValueOutput as ValueOutput
    from guideplug.denoise import View as View
    from guideplug.denoise import Weight as Weight
    from guideplug.denoise import WeightColumn as WeightColumn
    from guideplug.denoise import WeightInput as WeightInput
    from guideplug.denoise import WeightSchedule as WeightSchedule
    from guideplug.denoise import evaluate_together as evaluate_together
    from guideplug.denoise import formula as formula
    from guideplug.denoise import per_row as per_row
    from guideplug.denoise import perturbed as perturbed
    from guideplug.denoise import select_rows as select_rows
    from guideplug.denoise import tally as tally
    from guideplug.denoise.attention import blurred_queries as blurred_queries
    from guideplug.denoise.attention import identity_attention as identity_attention
    from guideplug.denoise.dropout import dropped_units as dropped_units
    from guideplug.denoise.skip import skip_layers as skip_layers
    from guideplug.errors import ConfigError as ConfigError
    from guideplug.errors import ContractError as ContractError
    from guideplug.errors import DenoiserError as DenoiserError
    from guideplug.errors import GuideplugError as GuideplugError
    from guideplug.executors import Executor as Executor
    from guideplug.executors import Job as Job
    from guideplug.executors import JobResult as JobResult
    from guideplug.executors import Pool as Pool
    from guideplug.executors import Processes as Processes
    from guideplug.executors import Serial as Serial
    from guideplug.executors import WorkerSource as WorkerSource
    from guideplug.experiments.weights.call import sample_run as sample_run
    from guideplug.experiments.weights.result import MeasuredArm as MeasuredArm
    from guideplug.experiments.weights.result import WeightSweep as WeightSweep
    from guideplug.features import FeatureFunction as FeatureFunction
    from guideplug.features import Features as Features
    from guideplug.files.absolute_path import absolute_path as absolute_path
    from guideplug.files.atomic import whole_file as whole_file
    from guideplug.files.checkpoints.pickled_network import PickledNetwork as PickledNetwork
    from guideplug.files.checkpoints.reading import load_weights as load_weights
    from guideplug.files.checkpoints.reading import read_weights as read_weights
    from guideplug.files.opening import is_there as is_there
    from guideplug.files.opening import open_file as open_file
    from guideplug.files.opening import read_bytes as read_bytes
    from guideplug.files.opening import walk_folder as walk_folder
    from guideplug.files.reading import file_digest as file_digest
    from guideplug.files.reading import parse_json as parse_json
    from guideplug.files.reading import read_arrays as read_arrays
    from guideplug.files.tensors import fill_module as fill_module
    from guideplug.files.tensors import read_tensors as read_tensors
    from guideplug.guide import Guider as Guider
    from guideplug.guide import opposite as opposite
    from guideplug.guide import weight_of as weight_of
    from guideplug.image_grid import ImagePanel as ImagePanel
    from guideplug.image_grid import draw_image_grid as draw_image_grid
    from guideplug.image_grid import grid_by_class as grid_by_class
    from guideplug.image_grid import grid_in_order as grid_in_order
    from guideplug.metrics import BallCoverage as BallCoverage
    from guideplug.metrics import BallDensity as BallDensity
    from guideplug.metrics import BallMetric as BallMetric
    from guideplug.metrics import BallPrecision as BallPrecision
    from guideplug.metrics import BallRecall as BallRecall
    from guideplug.metrics import Candidates as Candidates
    from guideplug.metrics import DensityCoverage as DensityCoverage
    from guideplug.metrics import Difference as Difference
    from guideplug.metrics import Gaussian as Gaussian
    from guideplug.metrics import KernelDistance as KernelDistance
    from guideplug.metrics import Moments as Moments
    from guideplug.metrics import NearestTraining as NearestTraining
    from guideplug.metrics import NeighbourBalls as NeighbourBalls
    from guideplug.metrics import Neighbours as Neighbours
    from guideplug.metrics import PrecisionRecall as PrecisionRecall
    from guideplug.metrics import ReferenceStatistics as ReferenceStatistics
    from guideplug.metrics import confidence_interval as confidence_interval
    from guideplug.metrics import density_coverage as density_coverage
    from guideplug.metrics import energy_distance as energy_distance
    from guideplug.metrics import frechet_distance as frechet_distance
    from guideplug.metrics import gaussian_wasserstein as gaussian_wasserstein
    from guideplug.metrics import held_out_interval as held_out_interval
    from guideplug.metrics import kernel_distance as kernel_distance
    from guideplug.metrics import nearest_neighbours as nearest_neighbours
    from guideplug.metrics import neighbour_balls as neighbour_balls
    from guideplug.metrics import paired_bootstrap as paired_bootstrap
    from guideplug.metrics import precision_recall as precision_recall
    from guideplug.metrics import resampled_coverage as resampled_coverage
    from guideplug.metrics import resampled_energy_distance as resampled_energy_distance
    from guideplug.metrics import resampled_frechet_distance as resampled_frechet_distance
    from guideplug.metrics import resampled_median as resampled_median
    from guideplug.metrics import sliced_wasserstein as sliced_wasserstein
    from guideplug.metrics import wasserstein as wasserstein
    from guideplug.noise import LogNormal as LogNormal
    from guideplug.noise import LogUniform as LogUniform
    from guideplug.noise import grid_position as grid_position
    from guideplug.noise import log_linear_grid as log_linear_grid
    from guideplug.noise import sigma_grid as sigma_grid
    from guideplug.objective import Objective as Objective
    from guideplug.objective import ObjectiveInput as ObjectiveInput
    from guideplug.observe import Listener as Listener
    from guideplug.observe import Observer as Observer
    from guideplug.observe import RunInfo as RunInfo
    from guideplug.observe import TrainingMoment as TrainingMoment
    from guideplug.recipe import Builder as Builder
    from guideplug.recipe import Extra as Extra
    from guideplug.recipe import MainRecipe as MainRecipe
    from guideplug.recipe import Observable as Observable
    from guideplug.recipe import Planned as Planned
    from guideplug.recipe import Recipe as Recipe
    from guideplug.recipe import Resumable as Resumable
    from guideplug.recipes import Augmented as Augmented
    from guideplug.recipes import DataModule as DataModule
    from guideplug.recipes import DataRecipe as DataRecipe
    from guideplug.recipes import Degraded as Degraded
    from guideplug.recipes import FineTune as FineTune
    from guideplug.recipes import Load as Load
    from guideplug.recipes import PlannedBatch as PlannedBatch
    from guideplug.recipes import PlannedSampling as PlannedSampling
    from guideplug.recipes import PostHoc as PostHoc
    from guideplug.recipes import PythonRef as PythonRef
    from guideplug.recipes import Resampled as Resampled
    from guideplug.recipes import Snapshot as Snapshot
    from guideplug.recipes import Synthetic as Synthetic
    from guideplug.recipes import Train as Train
    from guideplug.recipes import ViewRecipe as ViewRecipe
    from guideplug.recipes import WithoutLayers as WithoutLayers
    from guideplug.recipes import half_width as half_width
    from guideplug.recipes import weaker as weaker
    from guideplug.registry.expression import strategy as strategy
    from guideplug.registry.hookspecs import hook as hook
    from guideplug.registry.registry import Registry as Registry
    from guideplug.reward import Reward as Reward
    from guideplug.rng import ReplayedStreams as ReplayedStreams
    from guideplug.rng import SampleStreams as SampleStreams
    from guideplug.rng import Streams as Streams
    from guideplug.rng import TrainingStreams as TrainingStreams
    from guideplug.run.call import run as run
    from guideplug.run.open_network import open_network as open_network
    from guideplug.run.result import RunResult as RunResult
    from guideplug.sample import Sampler as Sampler
    from guideplug.sample import State as State
    from guideplug.select import CandidateRequest as CandidateRequest
    from guideplug.select import Losses as Losses
    from guideplug.select import Selection as Selection
    from guideplug.select import Selector as Selector
    from guideplug.select import SelectorState as SelectorState
    from guideplug.sigma_sampler import SigmaSampler as SigmaSampler
    from guideplug.solver import Memory as Memory
    from guideplug.solver import Solver as Solver
    from guideplug.solver import SolverStep as SolverStep
    from guideplug.solver import clip_option as clip_option
    from guideplug.solver import levels_option as levels_option
    from guideplug.store.data_cache import prepared_data as prepared_data
    from guideplug.study import Findings as Findings
    from guideplug.study import Measured as Measured
    from guideplug.study import Report as Report
    from guideplug.study import Study as Study
    from guideplug.study import Table as Table
    from guideplug.study import Trial as Trial
    from guideplug.task import Arm as Arm
    from guideplug.task import Context as Context
    from guideplug.task import Examples as Examples
    from guideplug.task import Metric as Metric
    from guideplug.task import Network as Network
    from guideplug.task import PerSample as PerSample
    from guideplug.task import Resampler as Resampler
    from guideplug.task import Task as Task
    from guideplug.task import Weighted as Weighted
    from guideplug.task import noised as noised
    from guideplug.train import Constant as Constant
    from guideplug.train import Cosine as Cosine
    from guideplug.train import Denoising as Denoising
    from guideplug.train import FiniteData as FiniteData
    from guideplug.train import InverseSqrt as InverseSqrt
    from guideplug.train import LoopState as LoopState
    from guideplug.train import TrainOptions as TrainOptions

_ROOMS = {
    "adapters": [
        "Autoencoder", "CosineSchedule", "DiscreteSchedule", "FlowSchedule", "NoiseSchedule", "VESchedule",
        "VPSchedule", "wrap",
    ],
    "check": ["Check", "check_data", "check_denoiser"],
    "config": [
        "Duration", "Expression", "Source", "Strategy", "along_range", "at_least", "between", "decides_nothing",
        "finite", "named", "non_negative", "option", "plain_call", "positive", "short", "up_to", "without_ranges",
    ],
    "denoise": [
        "Change", "Combine", "Condition", "Denoiser", "Direction", "Domain", "Gate", "GradientGuided", "Leaf",
        "Level", "LinearStep", "LogDensity", "NoiseDomain", "Output", "Perturbation", "PointOutput", "SharedView",
        "Space", "Start", "Step", "Value", "ValueOutput", "View", "Weight", "WeightColumn", "WeightInput",
        "WeightSchedule",
        "evaluate_together", "formula", "per_row", "perturbed", "select_rows", "tally",
    ],
    "denoise.attention": ["blurred_queries", "identity_attention"],
    "denoise.dropout": ["dropped_units"],
    "denoise.skip": ["skip_layers"],
    "errors": ["ConfigError", "ContractError", "DenoiserError", "GuideplugError"],
    "executors": ["Executor", "Job", "JobResult", "Pool", "Processes", "Serial", "WorkerSource"],
    "experiments.weights.call": ["sample_run"],
    "experiments.weights.result": ["MeasuredArm", "WeightSweep"],
    "features": ["FeatureFunction", "Features"],
    "files.absolute_path": ["absolute_path"],
    "files.atomic": ["whole_file"],
    "files.checkpoints.pickled_network": ["PickledNetwork"],
    "files.checkpoints.reading": ["load_weights", "read_weights"],
    "files.opening": ["is_there", "open_file", "read_bytes", "walk_folder"],
    "files.reading": ["file_digest", "parse_json", "read_arrays"],
    "files.tensors": ["fill_module", "read_tensors"],
    "guide": ["Guider", "opposite", "weight_of"],
    "image_grid": ["ImagePanel", "draw_image_grid", "grid_by_class", "grid_in_order"],
    "metrics": [
        "BallCoverage", "BallDensity", "BallMetric", "BallPrecision", "BallRecall", "Candidates",
        "DensityCoverage", "Difference", "Gaussian", "KernelDistance", "Moments", "NearestTraining",
        "NeighbourBalls", "Neighbours", "PrecisionRecall", "ReferenceStatistics", "confidence_interval",
        "density_coverage", "energy_distance", "frechet_distance", "gaussian_wasserstein", "held_out_interval",
        "kernel_distance", "nearest_neighbours", "neighbour_balls", "paired_bootstrap", "precision_recall",
        "resampled_coverage", "resampled_energy_distance", "resampled_frechet_distance", "resampled_median",
        "sliced_wasserstein", "wasserstein",
    ],
    "noise": ["LogNormal", "LogUniform", "grid_position", "log_linear_grid", "sigma_grid"],
    "objective": ["Objective", "ObjectiveInput"],
    "observe": ["Listener", "Observer", "RunInfo", "TrainingMoment"],
    "recipe": ["Builder", "Extra", "MainRecipe", "Observable", "Planned", "Recipe", "Resumable"],
    "recipes": [
        "Augmented", "DataModule", "DataRecipe", "Degraded", "FineTune", "Load", "PlannedBatch", "PlannedSampling",
        "PostHoc", "PythonRef", "Resampled", "Snapshot", "Synthetic", "Train", "ViewRecipe", "WithoutLayers",
        "half_width", "weaker",
    ],
    "registry.expression": ["strategy"],
    "registry.hookspecs": ["hook"],
    "registry.registry": ["Registry"],
    "reward": ["Reward"],
    "rng": ["ReplayedStreams", "SampleStreams", "Streams", "TrainingStreams"],
    "run.call": ["run"],
    "run.open_network": ["open_network"],
    "run.result": ["RunResult"],
    "sample": ["Sampler", "State"],
    "select": ["CandidateRequest", "Losses", "Selection", "Selector", "SelectorState"],
    "sigma_sampler": ["SigmaSampler"],
    "solver": ["Memory", "Solver", "SolverStep", "clip_option", "levels_option"],
    "store.data_cache": ["prepared_data"],
    "study": ["Findings", "Measured", "Report", "Study", "Table", "Trial"],
    "task": ["Arm", "Context", "Examples", "Metric", "Network", "PerSample", "Resampler", "Task", "Weighted", "noised"],
    "train": ["Constant", "Cosine", "Denoising", "FiniteData", "InverseSqrt", "LoopState", "TrainOptions"],
}  # fmt: skip
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}
_RENAMED = {
    "Draw": "CandidateRequest",
    "Observed": "RunInfo",
    "Options": "TrainOptions",
    "OwnCode": "PythonRef",
    "Uphill": "GradientGuided",
    "Workshop": "Builder",
    "interval": "confidence_interval",
}
"""Old spellings, which still resolve in this release."""

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name == "run":  # the package of that name, which is called as its function is
        return import_module("guideplug.run")
    if name in _RENAMED:
        now = _RENAMED[name]
        warnings.warn(
            f"guideplug.{name} is called guideplug.{now}: the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        return __getattr__(now)
    if name not in _WHERE:
        raise _missing(name)
    return getattr(import_module(f"guideplug.{_WHERE[name]}"), name)


def _missing(name: str) -> AttributeError | ImportError:
    """The error for a name that is not here: where it is, or the nearest one.

    It is an `ImportError` for ``from guideplug import NAME``, which hides the message of any other.
    """
    message = f"module 'guideplug' has no attribute {name!r}"
    if name[:1].isalpha():
        nearest = import_module("guideplug.errors").nearest
        elsewhere = import_module("guideplug.registry.elsewhere").import_of(name) if name[0].isupper() else ""
        message += f": write {elsewhere}" if elsewhere else nearest(name, _WHERE)
    importing = name[:1].isupper() and sys._getframe(2).f_code.co_name == "_handle_fromlist"  # modules are lower case
    return ImportError(message, name="guideplug") if importing else AttributeError(message)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
