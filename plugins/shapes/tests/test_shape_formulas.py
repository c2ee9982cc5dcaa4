"""Each shape against its paper's formula, one sample at a time in NumPy, and against diffusers where that is right."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from given_networks import BASE, BATCH, IMAGE, OTHER, READER, SIGMAS, WEIGHTS, Given, X, close, diffusers, guided, rows

from guideplug import Guider
from guideplug.errors import DenoiserError
from guideplug_shapes.prediction import Prediction, from_denoised, to_denoised, unit


def velocity(denoised, x, sigma):
    """Of z = (1 - t) y + t n with t = sigma / (1 + sigma), from the expected y: (z - y) / t."""
    t = sigma / (1 + sigma)
    return (x / (1 + sigma) - denoised) / t


def of_velocity(v, x, sigma):
    t = sigma / (1 + sigma)
    return x / (1 + sigma) - t * v


def noise(denoised, x, sigma):
    return (x - denoised) / sigma


def of_noise(n, x, sigma):
    return x - sigma * n


def v(denoised, x, sigma):
    """Of z = a y + b n with a^2 + b^2 = 1, b = sigma a, from the expected y: a n - b y."""
    a = (1 + sigma**2) ** -0.5
    return a * noise(denoised, x, sigma) - sigma * a * denoised


def of_v(value, x, sigma):
    a = (1 + sigma**2) ** -0.5
    return a * (a * x) - sigma * a * value


def same(denoised, x, sigma):
    return denoised


RAW = {"denoised": (same, same), "noise": (noise, of_noise), "velocity": (velocity, of_velocity), "v": (v, of_v)}
"""What networks put out for a denoised sample, and back, by the names of the option ``prediction``."""


# What is projected


@pytest.mark.parametrize("sigma", [5.0, torch.tensor(0.3).double(), torch.tensor([4.0, 1.0, 0.2, 0.01]).double()])
def test_predictions_are_what_their_names_say_and_lead_back(sigma):
    level = sigma.reshape(-1, 1, 1, 1) if isinstance(sigma, torch.Tensor) else sigma
    assert set(RAW) == set(get_args(Prediction))
    for kind, (raw, back) in RAW.items():
        close(from_denoised(kind, BASE, X, sigma) * unit(kind, X, sigma), raw(BASE, X, level))
        close(to_denoised(kind, from_denoised(kind, BASE, X, sigma), X, sigma), BASE)
        close(back(raw(BASE, X, level), X, level), BASE)


def test_velocities_are_those_of_the_flow_schedule():
    """`wrap` makes of a flow network the denoiser whose velocity it is."""
    from guideplug import FlowSchedule, wrap

    flow = torch.randn(1, *IMAGE, generator=torch.Generator().manual_seed(1), dtype=torch.float64).expand(
        BATCH, -1, -1, -1
    )
    denoiser = wrap(lambda x, time: flow, shape=IMAGE, predicts="flow", schedule=FlowSchedule())
    value = from_denoised("velocity", denoiser(X, 0.7), X, 0.7) / 0.7
    torch.testing.assert_close(value, flow, rtol=1e-5, atol=1e-5)


# APG


def apg(base, other, w, eta, r, beta, before):
    """Algorithm 1 of arXiv:2410.02416."""
    difference = base - other
    if before is not None:
        difference = difference + beta * before
    running = difference
    difference = difference * min(1.0, r / np.linalg.norm(difference))
    unit = base / np.linalg.norm(base)
    along = (difference * unit).sum() * unit
    return base + (w - 1) * (difference - along + eta * along), running


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize(("eta", "momentum", "threshold"), [(0.0, -0.5, math.inf), (0.3, 0.0, 2.0), (1.0, 0.75, 3.0)])
def test_apg_along_a_trajectory(weight, eta, momentum, threshold):
    bases = [BASE, 2 * BASE - X, OTHER]
    others = [OTHER, X, BASE - 0.1 * X]
    text = f"apg(autoguidance(weight={weight}), eta={eta}, momentum={momentum}, threshold={threshold})"
    guider = READER.expression(text, Guider)
    path = guider.guide(Given(*bases), {"weak": Given(*others)}).trajectory()
    found = [path(X, sigma) for sigma in SIGMAS]
    for i in range(BATCH):
        before = None
        for step in range(3):
            value, before = apg(
                bases[step][i].numpy(), others[step][i].numpy(), weight, eta, threshold, momentum, before
            )
            close(found[step][i], torch.from_numpy(value))


def test_apg_bounds_the_difference_and_leaves_small_ones():
    text = "apg(autoguidance(weight=2), eta=1, momentum=0, threshold={})"
    norms = (BASE - OTHER).flatten(1).norm(dim=1)
    bound = float(norms.median())
    update = (guided(text.format(bound))(X, 1.0) - BASE).flatten(1).norm(dim=1)
    close(update, norms.clamp(max=bound))
    assert bool((norms > bound).any())
    assert bool((norms < bound).any())


@pytest.mark.parametrize("kind", RAW)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_apg_as_diffusers_has_it(weight, kind):
    """With its ``use_original_formulation``, whose scale is w - 1: its default starts from the other prediction."""
    module = diffusers("adaptive_projected_guidance")
    raw, back = RAW[kind]
    text = f"apg(autoguidance(weight={weight}), eta=0.2, momentum=-0.5, threshold=2.5, prediction={kind})"
    bases, others = [BASE, 2 * BASE - X], [OTHER, X]
    path = READER.expression(text, Guider).guide(Given(*bases), {"weak": Given(*others)}).trajectory()
    buffer = module.MomentumBuffer(-0.5)
    for base, other, sigma in zip(bases, others, SIGMAS[:2], strict=True):
        pair = raw(base, X, sigma), raw(other, X, sigma)
        theirs = module.normalized_guidance(*pair, weight - 1, buffer, 0.2, 2.5, use_original_formulation=True)
        close(path(X, sigma), back(theirs, X, sigma))


def test_diffusers_default_apg_is_not_the_papers():
    """D_u + w d is D_c + (w - 1) d only where d = D_c - D_u, that is, where nothing was projected."""
    module = diffusers("adaptive_projected_guidance")
    ours = guided("apg(autoguidance(weight=3), momentum=0)")(X, 1.0)
    theirs = module.normalized_guidance(BASE, OTHER, 3.0, None, 0.0)
    projected = (ours - BASE) / 2
    close(theirs - ours, projected - (BASE - OTHER))
    assert (theirs - ours).abs().max() > 0.1


# Rescale


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("phi", [0.0, 0.7, 1.0])
def test_rescale(weight, phi):
    """Section 3.4 of arXiv:2305.08891."""

    def formula(base, other):
        whole = other + weight * (base - other)
        return phi * whole * base.std() / whole.std() + (1 - phi) * whole

    found = guided(f"rescale(autoguidance(weight={weight}), phi={phi})")(X, 1.0)
    close(found, rows(formula, BASE, OTHER))
    module = diffusers("guider_utils")
    close(found, module.rescale_noise_cfg(OTHER + weight * (BASE - OTHER), BASE, phi))


@pytest.mark.parametrize("kind", RAW)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_rescale_of_raw_predictions_as_diffusers_has_it(sigma, kind):
    module = diffusers("guider_utils")
    raw, back = RAW[kind]
    base, other = raw(BASE, X, sigma), raw(OTHER, X, sigma)
    theirs = module.rescale_noise_cfg(other + 4.0 * (base - other), base, 0.7)
    close(guided(f"rescale(autoguidance(weight=4), prediction={kind})")(X, sigma), back(theirs, X, sigma))


# Dynamic thresholding


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.9, 0.995, 1.0])
@pytest.mark.parametrize("limit", [0.01, 1.0])
def test_dynamic_thresholding(weight, quantile, limit):
    """Section 2.3 of arXiv:2205.11487, with the limit of the data in place of 1."""

    def formula(base, other):
        whole = other + weight * (base - other)
        s = max(limit, np.quantile(np.abs(whole), quantile))
        return np.clip(whole, -s, s) / s * limit

    text = f"dynamic-threshold(autoguidance(weight={weight}), quantile={quantile}, limit={limit})"
    found = guided(text)(X, 1.0)
    close(found, rows(formula, BASE, OTHER))
    assert float(found.abs().max()) <= limit * (1 + 1e-9)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.995, 1.0])
@pytest.mark.parametrize("numbers", [1, 2, 1000])
def test_quantiles_are_those_of_torch(share, numbers):
    from guideplug_shapes.threshold import _quantile

    values = torch.rand(3, numbers, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_quantile(values, share), torch.quantile(values, share, dim=1))


def test_latents_have_no_default_limit():
    latents = Given(BASE)
    latents.decoder = torch.tanh
    models = {"weak": Given(OTHER)}
    with pytest.raises(DenoiserError, match="no default limit for latents"):
        READER.expression("dynamic-threshold(autoguidance)", Guider).guide(latents, models)
    READER.expression("dynamic-threshold(autoguidance, limit=3)", Guider).guide(latents, models)(X, 1.0)


def test_what_is_inside_the_range_stays_bit_for_bit():
    plain = guided("autoguidance(weight=3)")(X, 1.0)
    assert torch.equal(
        guided(f"dynamic-threshold(autoguidance(weight=3), limit={float(plain.abs().max())})")(X, 1.0), plain
    )


# CFG-Zero*


def zero_star(conditional, unconditional, w):
    """Algorithm 1 of arXiv:2503.18886, without zero-init."""
    s = (conditional * unconditional).sum() / (unconditional**2).sum()
    return (1 - w) * s * unconditional + w * conditional


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_cfg_zero_of_velocities(weight, sigma):
    ours = guided(f"cfg-zero(autoguidance(weight={weight}))")(X, sigma)
    v_c, v_u = velocity(BASE, X, sigma), velocity(OTHER, X, sigma)
    close(ours, of_velocity(rows(lambda c, u: zero_star(c, u, weight), v_c, v_u), X, sigma))
    module = diffusers("classifier_free_zero_star_guidance")
    theirs = module.ClassifierFreeZeroStarGuidance(guidance_scale=weight, zero_init_steps=0)
    theirs._step = 5
    close(ours, of_velocity(theirs.forward(v_c, v_u).pred, X, sigma), rtol=1e-5, atol=1e-5)  # its scale is float32


@pytest.mark.parametrize("weight", WEIGHTS)
def test_cfg_zero_of_denoised_samples(weight):
    found = guided(f"cfg-zero(autoguidance(weight={weight}), prediction=denoised)")(X, 1.0)
    close(found, rows(lambda c, u: zero_star(c, u, weight), BASE, OTHER))


def test_the_projection_of_velocities_is_another_than_that_of_denoised_samples():
    velocities, samples = (
        guided(f"cfg-zero(autoguidance(weight=3), prediction={kind})") for kind in ("velocity", "denoised")
    )
    for sigma in SIGMAS:
        assert (velocities(X, sigma) - samples(X, sigma)).abs().max() > 0.01


def test_the_scale_leaves_a_difference_across_what_is_guided_away_from():
    """s makes s v_u the nearest to v_c of all multiples of v_u."""
    away = velocity(guided("cfg-zero(autoguidance(weight=0))")(X, 0.7), X, 0.7)
    left = velocity(BASE, X, 0.7) - away
    close((left * velocity(OTHER, X, 0.7)).flatten(1).sum(1), torch.zeros(BATCH, dtype=torch.float64))


def test_zero_init_is_a_velocity_of_zero_above_its_level_and_costs_the_base_alone():
    from guideplug import tally

    base, weak = Given(BASE), Given(OTHER)
    models = {"weak": weak}
    point = READER.expression("cfg-zero(autoguidance(weight=3), zero_above=2)", Guider).guide(base, models)
    plain = READER.expression("cfg-zero(autoguidance(weight=3))", Guider).guide(base, models)
    with tally() as counts:
        value = point(X, 2.5)
    close(velocity(value, X, 2.5), torch.zeros_like(X))
    assert list(counts.counts) == [base]
    for sigma in (2.0, 0.5):
        assert torch.equal(point(X, sigma), plain(X, sigma))


def test_zero_init_stands_still_on_the_straight_path():
    """An Euler step with D = x / (1 + sigma) keeps z = x / (1 + sigma), the sample of the flow."""
    point = guided("cfg-zero(autoguidance, zero_above=0.1)")
    sigma, after = 9.0, 4.0
    x_after = X + (after - sigma) * (X - point(X, sigma)) / sigma
    close(x_after / (1 + after), X / (1 + sigma))


# Tangential


def tangential(conditional, unconditional, w):
    """Section 4 of arXiv:2503.18137: the decomposition of the two predictions of one sample."""
    c, u = conditional.ravel(), unconditional.ravel()
    _, _, vectors = np.linalg.svd(np.stack([c, u]), full_matrices=False)
    damped = (u @ vectors[0]) * vectors[0]
    return (damped + w * (c - damped)).reshape(conditional.shape)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_tangential_of_noise(weight, sigma):
    ours = guided(f"tangential(autoguidance(weight={weight}))")(X, sigma)
    e_c, e_u = noise(BASE, X, sigma), noise(OTHER, X, sigma)
    close(ours, X - sigma * rows(lambda c, u: tangential(c, u, weight), e_c, e_u))
    module = diffusers("tangential_classifier_free_guidance")
    theirs = X - sigma * module.normalized_guidance(e_c, e_u, weight)
    close(ours, theirs, rtol=1e-4, atol=1e-4)  # it decomposes in float32


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("kind", ["denoised", "velocity"])
def test_tangential_of_other_predictions(weight, kind):
    found = guided(f"tangential(autoguidance(weight={weight}), prediction={kind})")(X, 0.7)
    if kind == "denoised":
        close(found, rows(lambda c, u: tangential(c, u, weight), BASE, OTHER))
    else:
        pair = (velocity(point, X, 0.7) for point in (BASE, OTHER))
        close(found, of_velocity(rows(lambda c, u: tangential(c, u, weight), *pair), X, 0.7))


@pytest.mark.parametrize("apart", [1e-1, 1e-3, 1e-5, 1e-7])
def test_tangential_in_float32_is_that_in_float64(apart):
    """However alike the two are: the difference is what is left of them."""
    base, other = BASE.float(), (BASE + apart * OTHER).float()
    text = "tangential(autoguidance(weight=3), prediction=denoised)"
    exact = rows(lambda c, u: tangential(c, u, 3.0), base.double(), other.double())
    torch.testing.assert_close(guided(text, base, other)(X.float(), 1.0).double(), exact, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_tangential_of_opposed_and_unequal_predictions(scale):
    text = "tangential(autoguidance(weight=3), prediction=denoised)"
    for other in (-scale * OTHER, scale * OTHER):
        close(
            guided(text, BASE, other)(X, 1.0),
            rows(lambda c, u: tangential(c, u, 3.0), BASE, other),
            1e-7,
            1e-9 * scale + 1e-9,
        )


# Magnitude-aware


def mambo(conditional, unconditional, w, alpha):
    """arXiv:2508.03442."""
    ratio = np.linalg.norm(conditional - unconditional) / np.linalg.norm(unconditional)
    return unconditional + (1 + (w - 1) * np.exp(-alpha * ratio)) * (conditional - unconditional)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("alpha", [0.5, 8.0])
def test_magnitude_aware_of_velocities(weight, sigma, alpha):
    ours = guided(f"magnitude-aware(autoguidance(weight={weight}), alpha={alpha})")(X, sigma)
    v_c, v_u = velocity(BASE, X, sigma), velocity(OTHER, X, sigma)
    close(ours, of_velocity(rows(lambda c, u: mambo(c, u, weight, alpha), v_c, v_u), X, sigma))
    module = diffusers("magnitude_aware_guidance")
    theirs = module.mambo_guidance(v_c.flatten(2), v_u.flatten(2), weight, alpha).reshape(X.shape)
    close(ours, of_velocity(theirs, X, sigma))


def test_diffusers_magnitude_aware_guidance_takes_no_images():
    """Its norm, torch.norm over three axes, is a matrix norm that is not defined; so two axes are given to it above."""
    module = diffusers("magnitude_aware_guidance")
    with pytest.raises(RuntimeError, match="dim must be a 2-tuple"):
        module.mambo_guidance(BASE, OTHER, 3.0)


@pytest.mark.parametrize("kind", ["denoised", "noise"])
def test_magnitude_aware_of_other_predictions(kind):
    found = guided(f"magnitude-aware(autoguidance(weight=3), alpha=2, prediction={kind})")(X, 0.7)
    if kind == "denoised":
        close(found, rows(lambda c, u: mambo(c, u, 3.0, 2.0), BASE, OTHER))
    else:
        pair = (noise(point, X, 0.7) for point in (BASE, OTHER))
        close(found, X - 0.7 * rows(lambda c, u: mambo(c, u, 3.0, 2.0), *pair))
