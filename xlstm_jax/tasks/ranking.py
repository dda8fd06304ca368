"""How well scores rank cases with a condition above those without it: areas under curves, exactly."""

import numpy as np


def roc_auc(scores_N: np.ndarray, positive_N: np.ndarray) -> float:
    """Area under the receiver operating characteristic, float64.

    It is the share of pairs of a positive and a negative in which the positive has the higher score; equal scores count
    as half a pair (Hanley & McNeil 1982). NaN if there are no positives or no negatives.

    Args:
        scores_N: any real numbers.
        positive_N: bools, or 0 and 1.
    """
    positive_N = np.asarray(positive_N, bool)
    _, place_N, count_U = np.unique(scores_N, return_inverse=True, return_counts=True)
    rank_U = np.cumsum(count_U) - (count_U - 1) / 2  # the mean rank of equal scores, from 1
    positives, negatives = int(positive_N.sum()), int((~positive_N).sum())
    if not positives or not negatives:
        return float("nan")
    above = rank_U[place_N[positive_N]].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(scores_N: np.ndarray, positive_N: np.ndarray) -> float:
    """Area under the curve of precision over recall, without interpolation, float64.

    The sum over thresholds of precision times the increase of recall, from the highest score down; equal scores pass a
    threshold together. NaN if there are no positives.

    Args:
        scores_N: any real numbers.
        positive_N: bools, or 0 and 1.
    """
    positive_N = np.asarray(positive_N, bool)
    if not positive_N.any():
        return float("nan")
    _, place_N = np.unique(-np.asarray(scores_N), return_inverse=True)
    count_U, hits_U = np.bincount(place_N), np.bincount(place_N, positive_N)
    precision_U = np.cumsum(hits_U) / np.cumsum(count_U)
    return float(np.sum(precision_U * hits_U) / positive_N.sum())
