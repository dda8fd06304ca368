"""Pictures made of MNIST's digits, and the sentences that describe them.

One to three digits, each large or small and in one of five colours, lie on a black ground and do not overlap:

    a large red seven in the top left
    a large red seven is left of a small green two
    three digits from left to right : a large red seven , a small green two and a small blue one

The sentence is a function of the picture: digits in other places than those that it can name are not drawn. Pictures
for training and validation have digits of MNIST's training part, those for testing of its test part. Five combinations
of colour and digit are kept for a part of their own, "new_combinations", whose pictures have at least one of them each.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from xlstm_jax.data.batches import generator
from xlstm_jax.data.series.classes.mnist import images

SIZES = ("small", "large")
COLOURS = {
    "red": (230, 50, 50),
    "green": (50, 200, 70),
    "blue": (80, 120, 255),
    "yellow": (240, 220, 50),
    "white": (240, 240, 240),
}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOST = 3  # digits of a picture
NEW = frozenset((colour, 2 * colour) for colour in range(len(COLOURS)))  # colour and digit, such as green and two
SHARES = (13 / 56, 20 / 56)  # side of a small and of a large digit, of that of the picture
APART = 4 / 56  # what tells places apart, likewise
CROP = 3  # pixels left out at each edge of MNIST's images, where there is no ink
TRIED = 16  # places at once for each picture

# Part of MNIST, first and last of its images, and the number from which pictures are drawn.
SOURCES = {
    "train": ("train", 0, 50_000, 0),
    "validation": ("train", 50_000, 60_000, 1),
    "test": ("test", 0, 10_000, 2),
    "new_combinations": ("test", 0, 10_000, 3),
}


class Scenes(NamedTuple):
    """What the pictures show; the digits of each in the order of its sentence, then unused ones."""

    count_N: np.ndarray  # of digits, 1 to 3
    large_NK: np.ndarray  # 0 or 1
    colour_NK: np.ndarray
    digit_NK: np.ndarray
    centre_NK2: np.ndarray  # from the top and from the left, in sides of the picture
    down_N: np.ndarray  # whether the digits are told apart from top to bottom, and not from left to right


def pictures(counts: Mapping[str, int], size: int) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Pictures, uint8 [N, size, size, 3], and their sentences, of each part; the same in every run.

    Args:
        counts: of pictures, by part.
        size: side in pixels.
    """
    read, parts = images(), {}
    for part, count in counts.items():
        source, first, last, number = SOURCES[part]
        images_NHW, digits_N = (array[first:last] for array in read[source])
        rng = generator(0, number)
        made = scenes(rng, count, new=part == "new_combinations")
        parts[part] = drawn(rng, made, images_NHW, digits_N, size), sentences(made)
    return parts


def write(folder: str | Path, count: int, *, part: str = "test", size: int = 56) -> None:
    """Writes pictures as PNG files and captions.csv, in the form in which one's own are read."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures_NHWC, texts = pictures({part: count}, size)[part]
    rows = ["file,caption"]
    for number, (picture_HWC, text) in enumerate(zip(pictures_NHWC, texts, strict=True)):
        Image.fromarray(picture_HWC).save(folder / f"{number}.png")
        rows.append(f'{number}.png,"{text}"')
    (folder / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def scenes(rng: np.random.Generator, count: int, *, new: bool) -> Scenes:
    """That many random scenes, with combinations of `NEW` in all or in none of them."""
    count_N = rng.integers(1, MOST + 1, count)
    large_NK = rng.integers(0, 2, (count, MOST))
    colour_NK, digit_NK = _combinations(rng, count_N, new)
    centre_NK2 = np.zeros((count, MOST, 2))
    todo_N = np.arange(count)
    while len(todo_N):
        side_NK = np.take(SHARES, large_NK[todo_N])
        free_NJK2 = rng.random((len(todo_N), TRIED, MOST, 2))
        tried_NJK2 = side_NK[:, None, :, None] / 2 + free_NJK2 * (1 - side_NK[:, None, :, None])
        good_NJ = _named(tried_NJK2, side_NK[:, None], count_N[todo_N, None])
        done_N = good_NJ.any(axis=1)
        chosen = np.flatnonzero(done_N), good_NJ.argmax(axis=1)[done_N]
        centre_NK2[todo_N[done_N]] = tried_NJK2[chosen]
        todo_N = todo_N[~done_N]
    down_N = _down(centre_NK2, count_N[:, None])
    along_NK = np.where(down_N[:, None], centre_NK2[..., 0], centre_NK2[..., 1])
    along_NK = np.where(np.arange(MOST) < count_N[:, None], along_NK, np.inf)
    order_NK = np.argsort(along_NK, axis=1, kind="stable")
    ordered = (np.take_along_axis(array_NK, order_NK, axis=1) for array_NK in (large_NK, colour_NK, digit_NK))
    return Scenes(count_N, *ordered, np.take_along_axis(centre_NK2, order_NK[..., None], axis=1), down_N)


def _combinations(rng: np.random.Generator, count_N: np.ndarray, new: bool) -> tuple[np.ndarray, np.ndarray]:
    """Colours and digits [N, 3]."""
    kept = np.array([(c, d) for c in range(len(COLOURS)) for d in range(len(DIGITS)) if (c, d) not in NEW])
    chosen_NK2 = kept[rng.integers(0, len(kept), (len(count_N), MOST))]
    if new:
        place_N = rng.integers(0, count_N)
        chosen_NK2[np.arange(len(count_N)), place_N] = np.array(sorted(NEW))[rng.integers(0, len(NEW), len(count_N))]
    return chosen_NK2[..., 0], chosen_NK2[..., 1]


def _spans(centre_NK2: np.ndarray, count_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the digits lie apart from top to bottom and from left to right, and the least step along each, [..., 2].

    Of two digits, both are their distance; of one, nothing.
    """
    there = (np.arange(MOST) < count_NK)[..., None]
    along = np.sort(np.where(there, centre_NK2, np.inf), axis=-2)
    with np.errstate(invalid="ignore"):
        steps = np.where(there[..., 1:, :], np.diff(along, axis=-2), np.inf)
    high, low = (np.max(np.where(there, side * centre_NK2, -np.inf), axis=-2) for side in (1, -1))
    return high + low, steps.min(axis=-2)


def _down(centre_NK2: np.ndarray, count_NK: np.ndarray) -> np.ndarray:
    spans_N2, _ = _spans(centre_NK2, count_NK)
    return spans_N2[..., 0] > spans_N2[..., 1]


def _named(centre_NJK2: np.ndarray, side_NJK: np.ndarray, count_NJ: np.ndarray) -> np.ndarray:
    """Which places [N, J] the sentences can name: digits do not overlap and lie clearly apart."""
    count_NJK = count_NJ[..., None]
    spans_NJ2, steps_NJ2 = _spans(centre_NJK2, count_NJK)
    longest_NJ = np.argmax(spans_NJ2, axis=-1)
    clear_NJ = np.abs(spans_NJ2[..., 0] - spans_NJ2[..., 1]) >= APART
    clear_NJ &= np.take_along_axis(steps_NJ2, longest_NJ[..., None], axis=-1)[..., 0] >= APART
    for a in range(MOST):
        for b in range(a):
            apart_NJ2 = np.abs(centre_NJK2[..., a, :] - centre_NJK2[..., b, :])
            touching_NJ = (apart_NJ2 < ((side_NJK[..., a] + side_NJK[..., b]) / 2)[..., None]).all(axis=-1)
            clear_NJ &= ~(touching_NJ & (count_NJ > a))
    corner_NJ = (np.abs(centre_NJK2[..., 0, :] - 0.5) >= APART).all(axis=-1)
    return np.where(count_NJ == 1, corner_NJ, clear_NJ)


def sentences(made: Scenes) -> list[str]:
    """The sentence of each scene."""
    return [_sentence(*(leaf[n] for leaf in made)) for n in range(len(made.count_N))]


def _sentence(count, large_K, colour_K, digit_K, centre_K2, down) -> str:
    colours = tuple(COLOURS)
    kinds = zip(large_K, colour_K, digit_K, strict=True)
    first, second, third = (f"a {SIZES[large]} {colours[colour]} {DIGITS[digit]}" for large, colour, digit in kinds)
    if count == 1:
        place = ("top", "bottom")[int(centre_K2[0, 0] > 0.5)], ("left", "right")[int(centre_K2[0, 1] > 0.5)]
        return f"{first} in the {' '.join(place)}"
    if count == 2:
        return f"{first} is {'above' if down else 'left of'} {second}"
    order = "top to bottom" if down else "left to right"
    return f"three digits from {order} : {first} , {second} and {third}"


def drawn(
    rng: np.random.Generator, made: Scenes, images_NHW: np.ndarray, digits_N: np.ndarray, size: int
) -> np.ndarray:
    """Pictures, uint8 [N, size, size, 3], with random images of each digit."""
    of_digit = [np.flatnonzero(digits_N == digit) for digit in range(len(DIGITS))]
    whole = images_NHW.shape[1] - 2 * CROP
    sides = [round(share * size) for share in SHARES]
    maps = [_averages(whole, side) for side in sides]
    colours = np.array(list(COLOURS.values()), np.float32) / 255
    pictures_NHWC = np.zeros((len(made.count_N), size, size, 3), np.uint8)
    chosen_NK = rng.random(made.digit_NK.shape)
    for n, k in np.argwhere(np.arange(MOST) < made.count_N[:, None]):
        among, large = of_digit[made.digit_NK[n, k]], made.large_NK[n, k]
        image_HW = images_NHW[among[int(chosen_NK[n, k] * len(among))], CROP:-CROP, CROP:-CROP].astype(np.float32)
        ink_HW1 = (maps[large] @ image_HW @ maps[large].T)[..., None]
        side = sides[large]
        top, left = np.clip(np.round(made.centre_NK2[n, k] * size - side / 2).astype(int), 0, size - side)
        place = pictures_NHWC[n, top : top + side, left : left + side]
        np.maximum(place, np.round(ink_HW1 * colours[made.colour_NK[n, k]]).astype(np.uint8), out=place)
    return pictures_NHWC


def _averages(whole: int, side: int) -> np.ndarray:
    """The map [side, whole] that scales an image: each pixel is the mean of what it covers."""
    edges = np.linspace(0, whole, side + 1)
    low, high = edges[:-1, None], edges[1:, None]
    covered = np.clip(np.minimum(high, np.arange(1, whole + 1)) - np.maximum(low, np.arange(whole)), 0, None)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
