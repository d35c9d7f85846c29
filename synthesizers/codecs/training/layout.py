"""A checkpoint in audiocraft's exported layout, as Piano-Encodec was published."""

from __future__ import annotations

from typing import Any

from synthesizers.codecs.encodec import SEANET_SIZES, Codec, CodecConfig

VERSION = "1.3.0"
"""Of the audiocraft whose layout this is."""


def layout(codec: Codec) -> dict[str, Any]:
    """The content of the file; ``codec`` has weight norm."""
    import yaml  # type: ignore[import-untyped]

    return {
        "best_state": dict(codec.state_dict()),
        "xp.cfg": yaml.safe_dump(configuration(codec.config), sort_keys=False),
        "version": VERSION,
        "exported": True,
    }


def configuration(config: CodecConfig) -> dict[str, Any]:
    """The sections that audiocraft builds a codec from."""
    shared = {"causal": False, "channels": config.channels}
    sizes = {name: getattr(config, name) for name in SEANET_SIZES} | {"ratios": list(config.ratios)}
    return {
        "channels": config.channels,
        "sample_rate": config.sample_rate,
        "compression_model": "encodec",
        "encodec": {
            "autoencoder": "seanet",
            "quantizer": "rvq",
            "sample_rate": config.sample_rate,
            "renormalize": False,
            **shared,
        },
        "seanet": {
            **sizes,
            **shared,
            "activation": "ELU",
            "activation_params": {"alpha": 1.0},
            "norm": "weight_norm",
            "norm_params": {},
            "disable_norm_outer_blocks": 0,
            "decoder": {"trim_right_ratio": 1.0, "final_activation": None, "final_activation_params": None},
            "encoder": {},
        },
        "rvq": {
            "n_q": config.n_q,
            "q_dropout": False,
            "bins": config.bins,
            "decay": 0.99,
            "kmeans_init": True,
            "kmeans_iters": 50,
            "threshold_ema_dead_code": 2,
            "orthogonal_reg_weight": 0.0,
            "orthogonal_reg_active_codes_only": False,
        },
    }
