"""Widths and filters that make no network are refused where they are written."""

from typing import Any

import pytest

from guideplug_edm_networks import EDM, EDM2


@pytest.mark.parametrize("network", [EDM, EDM2])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel_mult": (1.0, 2.0**64)}, "channel_mult.* 1.8446744073709552e.19.*64"),
        ({"channel_mult_emb": 2.0**64}, "channel_mult_emb.*64"),
        ({"channel_mult_noise": 1e-6}, "channel_mult_noise.* 1e-06.*0.5"),
        *(
            ({"resample_filter": taps}, "resample_filter is .*: it must be an even number of taps, 2 to 64")
            for taps in [(), (1.0,), (1.0, 2.0, 1.0), (1.0, float("inf")), (1.0, -1.0), (1e20, 1e20), (1.0,) * 66]
        ),
    ],
    ids=repr,
)
def test_widths_and_filters_are_bounded(network: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)


@pytest.mark.parametrize("network", [EDM, EDM2])
def test_those_of_published_networks_are_not_refused(network: Any) -> None:
    network(channel_mult=(1, 2, 3, 4), channel_mult_noise=2, channel_mult_emb=4, resample_filter=(1, 3, 3, 1))
