"""The linear-chain CRF by listing all paths. Lafferty, McCallum & Pereira 2001, equation 1; one row at a time."""

import itertools

import numpy as np


def paths(emissions_TA, transitions_AA, start_A, end_A):
    """All paths [P, T] and their scores [P], float64."""
    time, tags = emissions_TA.shape
    every = np.array(list(itertools.product(range(tags), repeat=time)), int).reshape(tags**time, time)
    scores = []
    for path in every:
        score = 0.0 if not time else start_A[path[0]] + end_A[path[-1]]
        for t, tag in enumerate(path):
            score += emissions_TA[t, tag] + (transitions_AA[path[t - 1], tag] if t else 0)
        scores.append(score)
    return every, np.array(scores, np.float64)


def log_sum(scores):
    """log sum exp; minus infinity without any finite score."""
    highest = scores.max()
    return highest if np.isneginf(highest) else highest + np.log(np.exp(scores - highest).sum())


def marginals(emissions_TA, *weights):
    """[T, A], the share of the probability of all paths with that tag at that step."""
    every, scores = paths(emissions_TA, *weights)
    p = np.exp(scores - log_sum(scores))
    time, tags = emissions_TA.shape
    return np.array([[p[every[:, t] == a].sum() for a in range(tags)] for t in range(time)]).reshape(time, tags)


def moves(emissions_TA, *weights):
    """[A, A], the expected number of times that each transition is made."""
    every, scores = paths(emissions_TA, *weights)
    p = np.exp(scores - log_sum(scores))
    count = np.zeros_like(weights[0], np.float64)
    for path, share in zip(every, p, strict=True):
        for pair in itertools.pairwise(path):
            count[pair] += share
    return count
