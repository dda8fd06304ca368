"""Tiny models of `transformers`' xLSTM in which every parameter matters."""

from typing import Any

OPTIONS = {
    "chunk_size": 8,
    "chunkwise_kernel": "chunkwise--native_autograd",
    "sequence_kernel": "native_sequence__native",
    "step_kernel": "native",
    "mode": "inference",
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def peer(seed: int = 0, **sizes: Any):
    """A model in float32 in which no parameter keeps its initial value; gates open and close."""
    import torch
    from transformers import xLSTMConfig, xLSTMForCausalLM

    torch.manual_seed(seed)
    model = xLSTMForCausalLM(xLSTMConfig(**OPTIONS | sizes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name else 0.0
            scale = 0.4 if parameter.ndim == 1 else 1.5 / parameter.shape[-1] ** 0.5
            parameter.copy_(centre + scale * torch.randn_like(parameter))
    return model
