"""Guidance by gradients: the laws, the formulas, closed forms, and what is refused."""

import json
import math
import re
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from guideplug import GradientGuided, Guider, Leaf, Space, tally
from guideplug.cli.main import main
from guideplug.config import Reader
from guideplug.denoise import Count, formula
from guideplug.errors import ConfigError, DenoiserError, GuideplugError, RecipeError
from guideplug.recipes import Synthetic
from guideplug.registry.registry import Registry
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, resolve
from guideplug.store import identity
from guideplug.testing import GaussianDenoiser, check_guider, example_condition
from guideplug_gradient import Classifier, LinearMeasurement, Measurement, Posterior

REGISTRY = Registry.installed()

OWN = """
import torch

def bowl(x, sigma, condition):
    return -0.5 * ((x - 1) ** 2).flatten(1).sum(1) / (1 + sigma**2)

def label(x, sigma, condition):
    goal = 0.0 if not isinstance(condition, torch.Tensor) else condition.to(x.dtype).reshape(len(x), -1).mean(1)
    return -0.5 * (x.flatten(1).mean(1) - goal) ** 2

def scalar(x, sigma, condition):
    return x.sum()

def lost(x, sigma, condition):
    return x.detach().flatten(1).sum(1)

def nan(x, sigma, condition):
    return (x.flatten(1).sum(1) - 1e9).sqrt()

def broken(x, sigma, condition):
    return x.nothing

def difference(x):
    return (x.flatten(1)[:, :1] - x.flatten(1)[:, 1:2])

def square(x):
    return x.flatten(1)[:, :1] ** 2

number = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


def saved(path: Path, numbers) -> str:
    np.save(path, np.asarray(numbers, dtype=float))
    return str(path)


def read(text: str) -> Guider:
    return Reader(REGISTRY).expression(text, Guider)


def points(batch=5, seed=0):
    return torch.randn(batch, 2, generator=torch.Generator().manual_seed(seed)).double()


# Laws


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"on": "denoised", "scale": 3.0}, {"scale": 0.0}])
@pytest.mark.parametrize("function", ["bowl", "label"])
def test_laws_of_the_classifier(own, function, options):
    check_guider(lambda: Classifier(f"{own}:{function}", **options))
    check_guider(lambda: Classifier(f"{own}:{function}", **options), shape=(1, 4, 4))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"noise": 0.0, "scale": 0.5}, {"method": "dps", "noise": 1.0}])
def test_laws_of_the_posterior(own, tmp_path, options):
    check_guider(lambda: Posterior(saved(tmp_path / "A.npy", [[1, -1]]), (0.3,), **options))
    check_guider(lambda: Posterior(f"{own}:difference", saved(tmp_path / "y.npy", [0.3]), **options), shape=(1, 4, 4))


# Classifier


def test_the_classifier_is_its_formula(own):
    main = GaussianDenoiser(0.2).double()
    x = points()
    noisy = Classifier(f"{own}:bowl", scale=2.5).guide(main, {})
    torch.testing.assert_close(noisy(x, 0.7), main(x, 0.7) + 2.5 * 0.49 * (1 - x) / 1.49)
    slope = main.std**2 / (main.std**2 + 0.49)  # of the denoiser
    through = Classifier(f"{own}:bowl", scale=2.5, on="denoised").guide(main, {})
    torch.testing.assert_close(through(x, 0.7), main(x, 0.7) + 2.5 * 0.49 * slope * (1 - main(x, 0.7)) / 1.49)
    assert formula(noisy, {main: "main"}) == "-1.5 main(x) + 2.5 [main(x) + sigma^2 grad bowl(x)]"


def test_the_classifier_sees_the_condition_that_is_given(own):
    main = GaussianDenoiser(0.2, conditioning="labels").double()
    x, labels = points(), torch.tensor([0, 1, 2, 0, 1])
    shift = Classifier(f"{own}:label").guide(main, {})(x, 0.7, labels) - main(x, 0.7, labels)
    expected = 0.49 * (labels - x.mean(1)) / 2
    torch.testing.assert_close(shift, expected[:, None].expand(-1, 2))


def test_beside_other_guiders_the_main_network_is_called_once(own):
    main = GaussianDenoiser(0.1, conditioning="labels")
    models = {"weak": GaussianDenoiser(0.4, conditioning="labels")}
    place = f'classifier("{own}:bowl", on=denoised)'
    expression = f"blend([apg(cfg(weight=3)), interval({place}, low=0.1, high=1), autoguidance])"
    point = read(expression).guide(main, models)
    x, labels = torch.randn(4, 2), example_condition("labels", 4, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for sigma, gradients in ((0.5, 1), (2.0, 0)):
            with tally() as counts:
                value = point(x, sigma, labels)
            assert counts[main] == Count(1, 8, gradients)
            assert counts[models["weak"]] == Count(1, 4)
            alone = sum(
                read(text).guide(main, models)(x, sigma, labels) - main(x, sigma, labels)
                for text in ("apg(cfg(weight=3))", f"interval({place}, low=0.1, high=1)", "autoguidance")
            )
            torch.testing.assert_close(value, main(x, sigma, labels) + alone)


def test_two_of_one_function_are_one(own, tmp_path):
    main = GaussianDenoiser(0.1)
    matrix = saved(tmp_path / "A.npy", [[1.0, 0.0]])
    for text in (f'classifier("{own}:bowl", on=denoised)', f"posterior('{matrix}', [1])"):
        point = read(f"blend([{text}, {text}])").guide(main, {})
        with tally() as counts:
            point(torch.randn(3, 2), 1.0)
        assert counts[main] == Count(1, 3, 1)


class Latent(Leaf):
    """A network of one space, whose samples are looked at in another."""

    def __init__(self):
        super().__init__(Space((2,)))

    def denoise(self, x, sigma, condition):
        return 0.5 * x

    def decode(self, x):
        return 3 * x


def test_a_latent_models_predictions_are_decoded_first(own):
    x = points()
    shift = Classifier(f"{own}:bowl", on="denoised").guide(Latent(), {})(x, 1.0) - 0.5 * x
    torch.testing.assert_close(shift, 1.5 * (1 - 1.5 * x) / 2)


# Posterior: Gaussian data, where the posterior is known


def exact(matrix, y, noise, mean, std, x, sigma):
    """E[x0 | x, y] for data N(mean, std^2 I), by the normal equations."""
    identity_ = torch.eye(x.shape[1], dtype=torch.float64)
    precision = identity_ / std**2 + identity_ / sigma**2 + matrix.T @ matrix / noise**2
    information = mean / std**2 + x / sigma**2 + matrix.T @ y / noise**2
    return torch.linalg.solve(precision, information.T).T


MATRICES = {
    "one row": [[1.0, 0.5]],
    "square": [[1.0, 0.5], [-0.3, 2.0]],
    "more rows than numbers": [[1.0, 0.5], [-0.3, 2.0], [0.7, 0.7]],
    "rank one": [[1.0, 0.5], [2.0, 1.0]],
}


@pytest.mark.parametrize("rows", MATRICES.values(), ids=MATRICES)
@pytest.mark.parametrize("sigma", [0.01, 0.4, 3.0, 60.0])
def test_pigdm_is_exact_for_gaussian_data(tmp_path, rows, sigma):
    matrix = torch.tensor(rows, dtype=torch.float64)
    y = torch.linspace(0.8, -0.4, len(rows)).double()
    main = GaussianDenoiser(0.2, 0.6).double()
    guider = Posterior(saved(tmp_path / "A.npy", rows), saved(tmp_path / "y.npy", y), noise=0.3)
    x = 0.2 + sigma * points()
    expected = exact(matrix, y, 0.3, 0.2, 0.6, x, sigma)
    torch.testing.assert_close(guider.guide(main, {})(x, sigma), expected, rtol=1e-8, atol=1e-8)
    levels = torch.full((5,), sigma, dtype=torch.float64)
    torch.testing.assert_close(guider.guide(main, {})(x, levels), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.01, 0.4, 3.0])
@pytest.mark.parametrize(("rows", "y"), [("one row", (0.8,)), ("rank one", (0.8, 1.7)), ("square", (0.8, 0.1))])
def test_without_noise_the_measurement_holds_exactly(tmp_path, rows, y, sigma):
    matrix = torch.tensor(MATRICES[rows], dtype=torch.float64)
    main = GaussianDenoiser(0.2, 0.6).double()
    guider = Posterior(saved(tmp_path / "A.npy", MATRICES[rows]), y, noise=0.0)
    found = guider.guide(main, {})(points(), sigma)
    explained = matrix @ torch.linalg.pinv(matrix) @ torch.tensor(y, dtype=torch.float64)  # what samples can measure
    torch.testing.assert_close(found @ matrix.T, explained.expand(5, -1))


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_dps_is_its_formula(tmp_path, own, sigma):
    matrix = torch.tensor([[1.0, -1.0]]).double()
    main = GaussianDenoiser(0.2, 0.6).double()
    x = points()
    denoised = main(x, sigma)
    jacobian = 0.36 / (0.36 + sigma**2)
    expected = denoised + 0.7 * sigma**2 * jacobian * (0.4 - denoised @ matrix.T) @ matrix / 0.5**2
    for operator in (saved(tmp_path / "A.npy", matrix), f"{own}:difference"):
        guided = Posterior(operator, (0.4,), noise=0.5, method="dps", scale=0.7).guide(main, {})
        torch.testing.assert_close(guided(x, sigma), expected)


def test_dps_takes_an_operator_that_is_not_linear(own):
    main = GaussianDenoiser(0.2, 0.6).double()
    x = points()
    denoised, jacobian = main(x, 0.7), 0.36 / (0.36 + 0.49)
    expected = denoised.clone()
    first = denoised[:, 0]
    expected[:, 0] += 0.49 * jacobian * 2 * first * (0.4 - first**2) / 0.25
    guided = Posterior(f"{own}:square", (0.4,), noise=0.5, method="dps").guide(main, {})
    torch.testing.assert_close(guided(x, 0.7), expected)


def test_a_linear_function_is_its_matrix(tmp_path, own):
    main, x = GaussianDenoiser(0.2, 0.6).double(), points()
    named = Posterior(f"{own}:difference", (0.4,)).guide(main, {})
    written = Posterior(saved(tmp_path / "A.npy", [[1.0, -1.0]]), (0.4,)).guide(main, {})
    torch.testing.assert_close(named(x, 0.7), written(x, 0.7))


def test_measurements_without_a_run():
    main, x = GaussianDenoiser(0.2, 0.6).double(), points()
    matrix, y = torch.tensor([[1.0, 0.5]]), torch.tensor([0.8])
    likelihood = LinearMeasurement(matrix, y, noise=0.3, data_std=main.space.sigma_data)
    found = GradientGuided(main, likelihood, through=True)(x, 0.7)
    torch.testing.assert_close(found, exact(matrix.double(), y.double(), 0.3, 0.2, 0.6, x, 0.7))
    same = Measurement(lambda x: x @ matrix.double().T, y, noise=0.3)
    flat = LinearMeasurement(matrix, y, noise=0.3)
    torch.testing.assert_close(
        GradientGuided(main, same, through=True)(x, 0.7),
        GradientGuided(main, flat, through=True)(x, 0.7),
        rtol=1e-6,
        atol=1e-6,
    )


def test_sampling_draws_from_the_posterior(tmp_path):
    sampler = REGISTRY.find("sampler", "heun")
    if isinstance(sampler, str):
        pytest.skip("heun is not installed")
    main = GaussianDenoiser(0.2, 0.6)
    guided = Posterior(saved(tmp_path / "A.npy", [[1.0, 0.0]]), (1.0,), noise=0.3).guide(main, {})
    x = 80 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    end = sampler(num_steps=24).sample(guided, x)
    variance = 1 / (1 / 0.36 + 1 / 0.09)
    assert abs(float(end[:, 0].mean()) - variance * (0.2 / 0.36 + 1.0 / 0.09)) < 0.02
    assert abs(float(end[:, 0].std()) - math.sqrt(variance)) < 0.02
    assert abs(float(end[:, 1].mean()) - 0.2) < 0.03
    assert abs(float(end[:, 1].std()) - 0.6) < 0.03


# Refusals: one line each, before anything is trained


def refused(text: str, task: str = "tree") -> str:
    with pytest.raises(GuideplugError) as caught:
        preflight(resolve(Request({"task": task, "guider": text, "device": "cpu"}), REGISTRY), REGISTRY)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(("function", "said"), [
    ("scalar", r"log-density scalar returned float32 of shape \(\) for 2 samples"),
    ("lost", "lost has no gradient"),
    ("nan", "grad nan.* not finite at sigma"),
    ("broken", "own.py:broken raised AttributeError"),
    ("absent", "has no function 'absent'"),
    ("number", "has no function 'number'"),
])  # fmt: skip
@pytest.mark.parametrize("on", ["noisy", "denoised"])
def test_functions_that_cannot_be_used(own, function, said, on):
    for text in ("{}", "interval({}, low=0.01, high=0.5)"):
        found = refused(text.format(f'classifier("{own}:{function}", on={on})'))
        assert re.search(said, found), found


def test_places_that_are_none(tmp_path):
    assert "function is 'cfg': write module:function" in refused("classifier(cfg)")
    assert "no such file" in refused(f'classifier("{tmp_path}/absent.py:f")')
    assert "cannot be imported" in refused("classifier('no_such_module_at_all:f')")
    assert "operator is 'A.csv': give FILE.npy" in refused("posterior('A.csv', [1])")


def test_measurements_that_do_not_fit(own, tmp_path):
    matrix, y = saved(tmp_path / "A.npy", [[1, 0.5]]), saved(tmp_path / "y.npy", [0.3])
    wide, flat = saved(tmp_path / "wide.npy", np.ones((1, 3))), saved(tmp_path / "flat.npy", [1, 2])
    zero, infinite = saved(tmp_path / "zero.npy", [[0, 0]]), saved(tmp_path / "inf.npy", [[1, math.inf]])
    assert "does not exist" in refused(f"posterior('{tmp_path}/B.npy', '{y}')")
    assert "does not exist" in refused(f"posterior('{matrix}', '{tmp_path}/z.npy')")
    assert "is no file of numbers" in refused(f"posterior('{matrix}', '{own}')")
    assert "has shape (1, 3), and a sample has 2 numbers: give a matrix (m, 2)" in refused(f"posterior('{wide}', [1])")
    assert "has shape (2,), and a sample" in refused(f"posterior('{flat}', [1])")
    assert "gives 1 numbers, and the measurement has 2" in refused(f"posterior('{matrix}', [1, 2])")
    assert "the measurement has shape (1, 2)" in refused(f"posterior('{matrix}', '{matrix}')")
    assert "the measurement has shape (0,)" in refused(f"posterior('{matrix}', [])")
    assert "not finite" in refused(f"posterior('{matrix}', [inf])")
    assert "not finite" in refused(f"posterior('{infinite}', [1])")
    assert "is 0 everywhere" in refused(f"posterior('{zero}', [1])")
    assert "dps divides by its square" in refused(f"posterior('{matrix}', [1], noise=0, method=dps)")
    assert "square is not linear: give method=dps" in refused(f'posterior("{own}:square", [1])')
    assert "returned shape (3, 1) for 3 samples" in refused(f'posterior("{own}:difference", [1, 2])')
    assert "returned shape (2, 1) for 2 samples" in refused(f'posterior("{own}:difference", [1, 2], method=dps)')
    assert "raised TypeError" in refused(f'posterior("{own}:bowl", [1])')


def test_a_matrix_that_is_too_large_is_not_written_out(own):
    main = GaussianDenoiser(0.1, shape=(3, 64, 64))
    with pytest.raises(ConfigError, match=r"12288 numbers, .* at most 4096: give method=dps"):
        Posterior(f"{own}:difference", (0.1,)).guide(main, {})


# What a run remembers


def test_code_and_files_are_content(own, tmp_path):
    matrix = saved(tmp_path / "A.npy", [[1.0, 0.5]])
    classifier, posterior = Classifier(f"{own}:bowl"), Posterior(matrix, matrix)
    assert len(classifier.content()) == 16
    assert len(posterior.content().split()) == 2
    assert Posterior(f"{own}:difference", (1.0,)).content() != classifier.content()  # each of what it reaches
    assert Classifier(f"{own}:bowl").content() == classifier.content()
    before = posterior.content()
    saved(tmp_path / "A.npy", [[1.0, 0.6]])
    assert posterior.content() != before
    (tmp_path / "A.npy").unlink()
    with pytest.raises(ConfigError, match=r"A\.npy does not exist"):
        posterior.content()
    with pytest.raises(RecipeError, match="no such file"):
        Classifier(f"{tmp_path}/absent.py:f").content()


def test_samples_drawn_with_other_files_are_other_data(tmp_path):
    config = resolve(Request({"task": "tree", "device": "cpu"}), REGISTRY)
    guider = Posterior(saved(tmp_path / "A.npy", [[1.0, 0.5]]), (1.0,))
    inside = attrs.evolve(read("interval(truncation, low=0.1)"), guider=guider)
    for chosen in (guider, inside):
        saved(tmp_path / "A.npy", [[1.0, 0.5]])
        recipe = Synthetic(of=config.main, task=config.task, sampler=config.sampler, guider=chosen)
        before = identity(recipe)
        assert identity(recipe) == before
        saved(tmp_path / "A.npy", [[1.0, 0.6]])
        assert identity(recipe) != before


def test_paths_are_written_whole(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Classifier("own.py:bowl").function == f"{own}:bowl"
    assert Posterior("A.npy", "y.npy").operator == str(tmp_path / "A.npy")
    assert Posterior("A.npy", "y.npy").measurement == str(tmp_path / "y.npy")
    assert Posterior("math:sqrt", (1.0,)).operator == "math:sqrt"


def test_a_home_that_nobody_has_is_a_file_that_is_not_there():
    found = Posterior("~nobody-of-this-name/A.npy", "~nobody-of-this-name/y.npy")
    with pytest.raises(ConfigError, match="nobody-of-this-name"):
        found.guide(GaussianDenoiser(0.1), {})


def test_errors_while_sampling_name_the_function(own):
    main = GaussianDenoiser(0.1)
    with pytest.raises(DenoiserError, match=r"classifier .*own.py:broken raised AttributeError"):
        Classifier(f"{own}:broken").guide(main, {})(torch.randn(2, 2), 1.0)


def test_explain_tells_the_gradients(own):
    text = f'interval(classifier("{own}:bowl", on=denoised, scale=2), high=1)'
    options = ["--task", "tree", "--sampler", "heun(num_steps=4)"]
    said = CliRunner().invoke(main, ["explain", text, *options])
    assert said.exit_code == 0, said.output
    assert "2 [sigma <= 1] ([main(x) + sigma^2 grad bowl(x0)] - main(x))" in said.output
    found = json.loads(CliRunner().invoke(main, ["explain", text, *options, "--json"]).output)
    taken = sum("sigma^2 grad bowl(x0)" in one["gradients"] for one in found["trajectory"])
    assert 0 < taken < found["evaluations"] == 7
    assert found["networks"]["main"] == {"calls": 7, "outputs": 7, "gradients": taken, "skipped": 0}
    assert f"7 calls, {taken} gradients" in said.output
    assert f"sigma^2 grad bowl(x0): taken in {taken} of 7 evaluations" in said.output
