"""Settings of the process that the import of a plugin could change for all other code: how each is read and put back.

Some decide what a network computes or where files go: random generators, torch's threads and flags, the current folder.
Others may well be changed by libraries when they are imported, such as filters of warnings; they are put back too.
"""

import decimal
import gc
import locale
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

__all__ = ["SETTINGS", "Setting"]

ENVIRONMENT = (
    "CUBLAS_", "CUDA_", "GUIDEPLUG_", "HF_", "MKL_", "NVIDIA_", "OMP_", "OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH_",
    "XDG_", "HOME", "TMPDIR", "TEMP", "TMP",
)  # fmt: skip
"""Beginnings of variables that decide."""
SIGNALS = [
    number for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD") if (number := getattr(signal, name, 0))
]
HOOKS = (
    "_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks", "_global_backward_pre_hooks",
    "_global_buffer_registration_hooks", "_global_module_registration_hooks", "_global_parameter_registration_hooks",
)  # fmt: skip


def _always(before: Any, now: Any) -> bool:
    return True


def _never(before: Any, now: Any) -> bool:
    return False


@attrs.frozen
class Setting:
    """A setting of the process.

    Args:
        name: in words, for messages.
        read: its value, to be compared by ``==``; may raise where it does not exist.
        write: puts a value back.
        decides: whether a change from one value to another decides what another plugin's network computes, or where
            files go.
        module: the module without which it does not exist.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    decides: Callable[[Any, Any], bool] = _always
    module: str = "sys"

    def value(self) -> Any:
        """The present value; `ABSENT` where there is none."""
        if self.module not in sys.modules:
            return ABSENT
        try:
            return self.read()
        except Exception:  # of another version of the library, or a folder that is gone
            return ABSENT


ABSENT: Any = object()


def _modules(name: str) -> Any:
    return sys.modules[name]


# Of Python and the system


def _variables() -> dict[Any, Any]:
    return os.environ._data.copy()  # type: ignore[attr-defined,no-any-return]  # not decoded, which takes longer


def _variables_decide(before: dict[Any, Any], now: dict[Any, Any]) -> bool:
    changed = {name for name in {**before, **now} if before.get(name) != now.get(name)}
    return any(os.fsdecode(name).startswith(ENVIRONMENT) for name in changed)


def _set_variables(before: dict[Any, Any]) -> None:
    """Put back; but new variables that decide nothing are those of libraries, which may look at them later."""
    for name in list(os.environ.keys() - map(os.fsdecode, before)):
        if name.startswith(ENVIRONMENT):
            del os.environ[name]
    os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in before.items()})


def _umask() -> int:
    """Read without a change where the system tells it, as other threads may write files meanwhile."""
    with open("/proc/self/status") as file:  # noqa: PTH123 - the quickest way
        return int(next(line for line in file if line.startswith("Umask:")).split()[1], 8)


def _set_path(before: list[str]) -> None:
    """What was there comes first, in its order: nothing new hides a module that others import."""
    sys.path[:] = [*before, *(place for place in sys.path if place not in before)]


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in SIGNALS}


def _set_handlers(before: Mapping[int, Any]) -> None:
    for number, handler in before.items():
        if signal.getsignal(number) is not handler and handler is not None:
            signal.signal(number, handler)


def _filters() -> tuple[Any, ...]:
    return (*warnings.filters, warnings.showwarning, warnings.formatwarning)


def _set_filters(before: tuple[Any, ...]) -> None:
    warnings.filters[:] = before[:-2]  # type: ignore[index]
    warnings.showwarning, warnings.formatwarning = before[-2:]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _streams() -> tuple[Any, ...]:
    return sys.stdout, sys.stderr, sys.excepthook, sys.displayhook, threading.excepthook


def _set_streams(before: tuple[Any, ...]) -> None:
    sys.stdout, sys.stderr, sys.excepthook, sys.displayhook, threading.excepthook = before


def _decimal() -> tuple[Any, ...]:
    context = decimal.getcontext()
    return context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp


def _set_decimal(before: tuple[Any, ...]) -> None:
    context = decimal.getcontext()
    context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp = before


def _collector() -> tuple[Any, ...]:
    return gc.isenabled(), gc.get_threshold()


def _set_collector(before: tuple[Any, ...]) -> None:
    (gc.enable if before[0] else gc.disable)()
    gc.set_threshold(*before[1])


def _set_locale(before: str) -> None:
    locale.setlocale(locale.LC_ALL, before)


def _set_traces(before: tuple[Any, Any]) -> None:
    sys.settrace(before[0])
    sys.setprofile(before[1])


# Of numpy and matplotlib


def _numpy_errors() -> dict[str, str]:
    errors: dict[str, str] = _modules("numpy").geterr()
    return errors


def _set_numpy_errors(before: Mapping[str, str]) -> None:
    _modules("numpy").seterr(**before)


def _numpy_generator() -> tuple[Any, ...]:
    kind, words, *rest = _modules("numpy").random.get_state()
    return (kind, words.tobytes(), *rest)


def _set_numpy_generator(before: tuple[Any, ...]) -> None:
    numpy = _modules("numpy")
    numpy.random.set_state((before[0], numpy.frombuffer(before[1], dtype=numpy.uint32), *before[2:]))


def _pictures() -> dict[str, Any]:
    return dict(dict.items(_modules("matplotlib").rcParams))


def _set_pictures(before: Mapping[str, Any]) -> None:
    dict.update(_modules("matplotlib").rcParams, before)


# Of torch


def _torch() -> Any:
    return _modules("torch")


def _torch_generator() -> bytes:
    content: bytes = _torch().get_rng_state().numpy().tobytes()
    return content


def _set_torch_generator(before: bytes) -> None:
    torch = _torch()
    torch.set_rng_state(torch.frombuffer(bytearray(before), dtype=torch.uint8))


def _cuda_generators() -> list[bytes]:
    cuda = _torch().cuda
    return [state.numpy().tobytes() for state in cuda.get_rng_state_all()] if cuda.is_initialized() else []


def _set_cuda_generators(before: list[bytes]) -> None:
    torch = _torch()
    torch.cuda.set_rng_state_all([torch.frombuffer(bytearray(state), dtype=torch.uint8) for state in before])


def _device() -> str:
    return str(_torch().get_default_device())


def _set_device(before: str) -> None:
    _torch().set_default_device(None if before == "cpu" else before)


def _modes() -> int:
    number: int = _torch()._C._len_torch_function_stack()
    return number


def _set_modes(before: int) -> None:
    while _modes() > before:
        _torch()._C._pop_torch_function_stack()


def _deterministic() -> tuple[bool, bool]:
    torch = _torch()
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(before: tuple[bool, bool]) -> None:
    _torch().use_deterministic_algorithms(before[0], warn_only=before[1])


def _denormals_are_zero() -> bool:
    torch = _torch()
    return bool((torch.full((1,), 1e-310, dtype=torch.float64) * 1.0).item() == 0.0)


def _hooks() -> tuple[dict[Any, Any], ...]:
    module = _torch().nn.modules.module
    return tuple(dict(getattr(module, name)) for name in HOOKS)


def _set_hooks(before: tuple[dict[Any, Any], ...]) -> None:
    module = _torch().nn.modules.module
    for name, hooks in zip(HOOKS, before, strict=True):
        getattr(module, name).clear()
        getattr(module, name).update(hooks)


def _flags() -> Iterator[Setting]:
    """Flags of torch that are attributes of an object in ``torch.backends``."""
    for place, flags in {
        "cudnn": ("enabled", "benchmark", "deterministic", "allow_tf32"),
        "cuda.matmul": (
            "allow_tf32",
            "allow_fp16_reduced_precision_reduction",
            "allow_bf16_reduced_precision_reduction",
        ),
        "mkldnn": ("enabled",),
    }.items():
        for flag in flags:

            def holder(place: str = place) -> Any:
                value = _torch().backends
                for part in place.split("."):
                    value = getattr(value, part)
                return value

            def read(flag: str = flag, holder: Callable[[], Any] = holder) -> Any:
                return getattr(holder(), flag)

            def write(before: Any, flag: str = flag, holder: Callable[[], Any] = holder) -> None:
                setattr(holder(), flag, before)

            yield Setting(f"torch.backends.{place}.{flag}", read, write, module="torch")


def _of_torch(name: str, get: str, put: str) -> Setting:
    """A setting of torch with functions to read and to write it."""
    return Setting(
        f"torch's {name}", lambda: getattr(_torch(), get)(), lambda x: getattr(_torch(), put)(x), module="torch"
    )


SETTINGS: tuple[Setting, ...] = (
    Setting("the current folder", os.getcwd, os.chdir),
    Setting("variables of the environment", _variables, _set_variables, _variables_decide),
    Setting("the umask", _umask, os.umask),
    Setting("handlers of signals", _handlers, _set_handlers),
    Setting("Python's random generator", random.getstate, random.setstate),
    Setting("the context of decimal numbers", _decimal, _set_decimal),
    Setting("numpy's random generator", _numpy_generator, _set_numpy_generator, module="numpy"),
    Setting("how numpy treats errors", _numpy_errors, _set_numpy_errors, module="numpy"),
    Setting("torch's random generator", _torch_generator, _set_torch_generator, module="torch"),
    Setting("torch's random generators on CUDA", _cuda_generators, _set_cuda_generators, module="torch"),
    Setting("torch's default device", _device, _set_device, module="torch"),
    Setting("torch's function modes", _modes, _set_modes, module="torch"),
    Setting("torch's deterministic algorithms", _deterministic, _set_deterministic, module="torch"),
    Setting("torch's denormal numbers", _denormals_are_zero, lambda x: _torch().set_flush_denormal(x), module="torch"),
    Setting("torch's hooks of all modules", _hooks, _set_hooks, module="torch"),
    _of_torch("number of threads", "get_num_threads", "set_num_threads"),
    _of_torch("number of threads between operations", "get_num_interop_threads", "set_num_interop_threads"),
    _of_torch("default type of numbers", "get_default_dtype", "set_default_dtype"),
    _of_torch("recording of gradients", "is_grad_enabled", "set_grad_enabled"),
    _of_torch("detection of anomalies", "is_anomaly_enabled", "set_anomaly_enabled"),
    _of_torch("precision of products of matrices", "get_float32_matmul_precision", "set_float32_matmul_precision"),
    *_flags(),
    Setting("the path of imports", lambda: list(sys.path), _set_path, decides=_never),
    Setting("filters of warnings", _filters, _set_filters, decides=_never),
    Setting("output, and what is done with exceptions", _streams, _set_streams, decides=_never),
    Setting("the locale", lambda: locale.setlocale(locale.LC_ALL), _set_locale, decides=_never),
    Setting("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit, decides=_never),
    Setting("how often threads take turns", sys.getswitchinterval, sys.setswitchinterval, decides=_never),
    Setting("the collector of garbage", _collector, _set_collector, decides=_never),
    Setting("functions that trace", lambda: (sys.gettrace(), sys.getprofile()), _set_traces, decides=_never),
    Setting("matplotlib's parameters", _pictures, _set_pictures, decides=_never, module="matplotlib"),
)
"""Every setting that is compared."""
