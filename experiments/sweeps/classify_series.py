"""Which models classify whole series best: MNIST-1D, two sets of the UEA archive, splice sites, sequential MNIST.

    python -m experiments.sweep --sweep=experiments/sweeps/classify_series.py --workdir=/tmp/series --num_workers=2
    python -m experiments.report --workdir=/tmp/series

Without a variant, MNIST-1D and two sets of the UEA archive, with one seed, which take an hour on 2 CPU cores; `:seeds`
has three seeds. `:splice` has splice sites. `:mnist` has sequential MNIST, permuted and not, and takes most of a day.
`:tiny` (MNIST-1D, 100 steps) takes 3 minutes. The test part is scored once, by the checkpoint with the best validation
accuracy; the validation accuracy of the report is that of the last step.
"""

from experiments.sweeping.base import Axis, Point, Sweep

MODELS = {
    "majority": "majority",
    "logistic regression": "linear",
    "LSTM": "lstm",
    "GRU": "gru",
    "BiLSTM": "bilstm",
    "minLSTM": "minlstm",
    "xLSTM": "xlstm",
    "Transformer": "transformer",
}
SHORT = ("mnist1d", "japanese_vowels", "basic_motions")
UNEVEN = ("splice", "japanese_vowels")  # series of different lengths, which a linear map cannot read
MNIST = ("LSTM", "minLSTM", "xLSTM")
PATCHES = Point({"data": "mnist", "model": "Vision-LSTM"}, {"config": "configs/classify_series.py:mnist,vil"})
PUBLISHED = (
    "sequential and permuted MNIST: 87.2 and 85.7 for an LSTM, 99.0 and 97.2 for a TCN (Bai et al. 2018, arXiv "
    "1803.01271), 98.9 and 90.2 for an LSTM (Cooijmans et al. 2016, arXiv 1603.09025); MNIST-1D: 91 for a GRU, 94 "
    "for a CNN, 32 for logistic regression (Greydanus & Kobak 2024); splice sites: 91.3 for an LSTM, a mean over "
    "random test parts (Regan et al. 2021); Japanese Vowels: 94.9 by dynamic time warping, 96.2 by ROCKET"
)


def _points(names: tuple[str, ...], models: tuple[str, ...]) -> Axis:
    """Each data set with each model that fits it."""
    return [
        Point({"data": name, "model": model}, {"config": f"configs/classify_series.py:{name},{MODELS[model]}"})
        for name in names
        for model in models
        if not (MODELS[model] == "linear" and name in UNEVEN)
    ]


# points, changes, seeds
VARIANTS = {
    "": (_points(SHORT, tuple(MODELS)), {}, (0,)),
    "seeds": (_points(SHORT, tuple(MODELS)), {}, (0, 1, 2)),
    "splice": (_points(("splice",), tuple(MODELS)), {}, (0,)),
    "mnist": ([*_points(("mnist", "permuted"), MNIST), PATCHES], {}, (0,)),
    "tiny": (_points(("mnist1d",), tuple(MODELS)), {"train.steps": 100, "train.eval_every": 50}, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    points, changes, seeds = VARIANTS[variant]
    return Sweep(
        question="Which model tells the class of a series best?",
        config="configs/classify_series.py:mnist1d,gru",
        points=points,
        changes=changes,
        seeds=seeds,
        metric="test/accuracy",
        better="higher",
        also=("validation/accuracy",),
        over_steps="validation/accuracy",
        published=PUBLISHED,
    )
