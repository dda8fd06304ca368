"""Linear-chain conditional random fields over whole sequences."""

from xlstm_jax.ops.crf.api import IMPLEMENTATIONS, log_likelihood, log_partition, marginals, viterbi
from xlstm_jax.ops.crf.weights import CRFWeights

__all__ = ["IMPLEMENTATIONS", "CRFWeights", "log_likelihood", "log_partition", "marginals", "viterbi"]
