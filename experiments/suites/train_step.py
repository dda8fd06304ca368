"""One training step of the models of configs/char_lm.py, and of the same models in PyTorch, if installed."""

from experiments.benching.base import ALPHABET, SUITES, on_random_text
from experiments.benching.timing import Case

VARIANTS = ("lstm", "gru", "rnn", "slstm", "mlstm", "xlstm")


@SUITES.register("train_step")
def train_step(tiny: bool) -> list[Case]:
    """Groups by variant: PyTorch's step first (rnn, lstm, gru), then ours."""
    cases = []
    for variant in VARIANTS[:1] if tiny else VARIANTS:
        config = _config(variant, tiny)
        if variant in ("rnn", "lstm", "gru"):
            cases += _torch_case(variant, config)
        cases.append(_our_case(variant, config))
    return cases


def _config(variant: str, tiny: bool):
    from configs import char_lm

    config = char_lm.get_config(variant)
    if tiny:
        config.model.features, config.data.batch_size, config.data.sequence_length = 16, 4, 8
    return config


def _our_case(variant: str, config) -> Case:
    import jax

    from xlstm_jax.train.step import compiled_step, init_state

    parts, batch = on_random_text(config)
    step, state = compiled_step(parts), init_state(parts)

    def once():
        nonlocal state
        state, metrics = step(state, batch)
        return jax.block_until_ready((state, metrics))

    return Case(variant, "xlstm_jax", once, batch.tokens_BT.size)


def _torch_case(variant: str, config) -> list[Case]:
    try:
        import torch
    except ImportError:
        return []
    import os

    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    features, shape = config.model.features, (config.data.batch_size, config.data.sequence_length)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[variant]
    embedding = torch.nn.Embedding(len(ALPHABET), features)
    recurrent = layer(features, features, num_layers=len(config.model.pattern), batch_first=True)
    head = torch.nn.Linear(features, len(ALPHABET), bias=False)
    parameters = [*embedding.parameters(), *recurrent.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.optimizer.learning_rate, weight_decay=0.0)
    tokens, targets = (torch.randint(0, len(ALPHABET), shape) for _ in range(2))

    def once():
        optimizer.zero_grad()
        logits = head(recurrent(embedding(tokens))[0])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
        optimizer.step()
        return loss.item()

    return [Case(variant, f"PyTorch {torch.__version__}", once, tokens.numel())]
