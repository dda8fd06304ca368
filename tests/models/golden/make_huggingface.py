"""Writes the folder `huggingface` next to this file: python -m tests.models.golden.make_huggingface

A tiny checkpoint of `transformers`' xLSTM with random weights in bfloat16, and its logits for some tokens, computed
with them in float32. Needs torch, transformers and the official package xlstm (K and V differ here); to be made anew
only where the format changes. Written with torch 2.13.0, transformers 5.23.0, xlstm 2.0.6.
"""

import pathlib
import shutil

import numpy as np

from tests.models.peer_xlstm import peer

FOLDER = pathlib.Path(__file__).parent / "huggingface"
SIZES = {"vocab_size": 29, "hidden_size": 16, "num_hidden_layers": 2, "num_heads": 2, "qk_dim_factor": 4.0}
SIZES |= {"v_dim_factor": 8.0, "ffn_proj_factor": 1.3, "ffn_round_up_to_multiple_of": 8}


def main() -> None:
    import torch

    model = peer(**SIZES).to(torch.bfloat16)
    shutil.rmtree(FOLDER, ignore_errors=True)
    model.save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    tokens_BT = np.random.default_rng(0).integers(0, SIZES["vocab_size"], (2, 16), np.int32)
    with torch.no_grad():
        logits_BTA = model.float()(torch.tensor(tokens_BT, dtype=torch.long)).logits.numpy()
    np.savez(FOLDER / "expected.npz", tokens_BT=tokens_BT, logits_BTA=logits_BTA)


if __name__ == "__main__":
    main()
