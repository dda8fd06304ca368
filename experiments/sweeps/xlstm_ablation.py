"""The xLSTM paper's ablations at a small size: from the LSTM to the xLSTM, and the xLSTM without its parts.

    python -m experiments.sweep --sweep=experiments/sweeps/xlstm_ablation.py --workdir=/tmp/ablation --num_workers=2
    python -m experiments.report --workdir=/tmp/ablation

Eight layers or blocks with about 0.9 million parameters in total, on Tiny Shakespeare. Judging by the speeds in
families.md, the sweep takes about 6 hours on 2 CPU cores. `:tiny` has two blocks, with sizes that are not matched, and
takes 5 minutes.

stage: each adds something to the one before it.
    LSTM                 plain layers (block r)
    + residual           x + LSTM(layernorm(x))
    + up-projection      then the sLSTM block's gated feed-forward layer: an LSTM in a post up-projection block
    + heads              the sLSTM block (s) with a sigmoid input gate: maps per head, convolution, normalizer
    + exponential gating xLSTM[0:1]: the sLSTM block. The paper combines this step with the previous one
    + matrix memory      xLSTM[7:1]
ratio: mLSTM to sLSTM blocks; [0:1] and [7:1] are among the stages.
gates: xLSTM[1:0] in which one or both gates ignore the input and have learned or fixed biases. The model with both is
    among the ratios. Fixed input gates are 1. Unless stated otherwise, forget biases range from 3 to 6 over heads.
convolution: xLSTM[1:0] and xLSTM[0:1] without it.
projection: each of the two in the other's kind of block.
"""

from typing import Any

from experiments.sweeping.base import Sweep, axis, product
from experiments.sweeps.shakespeare import SMALL

MLSTM, SLSTM = {"model.pattern": "xLSTM[1:0]"}, {"model.pattern": "xLSTM[0:1]"}
RESIDUAL = {"model.recurrent.norm": "layer", "model.recurrent.residual": True}
INPUT, FORGET = "model.mlstm.input_gate_form", "model.mlstm.forget_gate_form"
ONE = {INPUT: "fixed", "model.mlstm.input_bias_std": 0.0}  # the input gate

VARIANTS = {"": (468, 8), "tiny": (100, 2)}  # steps, blocks; 468 are three passes over the text


def parts(blocks: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns part -> model -> changes of the config."""
    lstm = {"model.pattern": blocks * "r"}
    return {
        "stage": {
            "LSTM": {**lstm, "model.features": 120},
            "+ residual": {**lstm, **RESIDUAL, "model.features": 120},
            "+ up-projection": {**lstm, **RESIDUAL, "model.recurrent.ffn_factor": 1.3, "model.features": 96},
            "+ heads": {**SLSTM, "model.slstm.input_gate": "sigmoid"},
            "+ exponential gating, xLSTM[0:1]": SLSTM,
            "+ matrix memory, xLSTM[7:1]": {"model.pattern": "xLSTM[7:1]", "model.num_blocks": 8},
        },
        "ratio": {"xLSTM[1:0]": MLSTM, "xLSTM[1:1]": {"model.pattern": "xLSTM[1:1]"}},
        "gates": {
            "none, forget gate 1": {
                **ONE,
                FORGET: "fixed",
                "model.mlstm.forget_bias_low": 100.0,
                "model.mlstm.forget_bias_high": 100.0,
            },
            "none": {**ONE, FORGET: "fixed"},
            "forget gate": ONE,
            "input gate": {FORGET: "fixed"},
            "forget bias": {**ONE, FORGET: "bias"},
            "forget bias, input bias": {FORGET: "bias", INPUT: "bias"},
            "forget gate, input bias": {INPUT: "bias"},
            "both, forget bias from 0": {"model.mlstm.forget_bias_low": 0.0, "model.mlstm.forget_bias_high": 0.0},
            "both, input bias from -10": {"model.mlstm.input_bias_mean": -10.0, "model.mlstm.input_bias_std": 0.0},
        },
        "convolution": {
            "xLSTM[1:0] without": {**MLSTM, "model.mlstm.conv_width": 0},
            "xLSTM[0:1] without": {**SLSTM, "model.slstm.conv_width": 0},
        },
        "projection": {
            "xLSTM[1:0] post": {
                **MLSTM,
                "model.mlstm.proj_factor": 1.0,
                "model.mlstm.ffn_factor": 1.3,
                "model.features": 120,
            },
            "xLSTM[0:1] pre": {
                **SLSTM,
                "model.slstm.proj_factor": 2.0,
                "model.slstm.ffn_factor": 0.0,
                "model.features": 88,
            },
        },
    }


def get_sweep(variant: str = "") -> Sweep:
    steps, blocks = VARIANTS[variant]
    return Sweep(
        question="Which step from the LSTM to the xLSTM brings what?",
        config="configs/char_lm.py:xlstm",
        points=[
            point
            for name, models in parts(blocks).items()
            for point in product(axis("part", {name: {}}), axis("model", models))
        ],
        changes={
            "model.pattern": "xLSTM[1:0]",
            "model.num_blocks": blocks,
            "model.features": 128,
            "train.steps": steps,
            "train.eval_every": 156,
            "model.dropout": 0.0,  # runs this short do not overfit
            "sample.length": 0,
            **(SMALL if variant else {}),
        },
        seeds=(0,) if variant else (0, 1, 2),
        published="Beck et al. 2024 (arXiv 2405.04517), table 2: perplexity at 408 to 608 million parameters after 15 "
        "billion tokens of SlimPajama. Stages: LSTM 2417.86, residual 35.46, up-projection 26.01, exponential gating "
        "17.70, matrix memory 13.48. Gates: none with f = 1 NaN, none 13.95, forget gate 13.58, input gate 13.69, "
        "forget bias 13.76, both biases 13.73, forget gate and input bias 13.55, both 13.43. The order alone can be "
        "compared",
    )
