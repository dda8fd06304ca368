"""Numbers on the command line have bounds, which are checked before jax starts."""

import ast

import pytest

from tests.experiments.programs import FOLDER, PROGRAMS, source

# `generate` checks its own by hand: what they may be depends on one another, as top_k and the vocabulary.
FILES = [*sorted({path.stem for path in FOLDER.glob("*.py")} - {"generate"}), "programs/processes"]


def definitions(name: str) -> list[tuple[str, str, set[str]]]:
    """Returns (kind, flag, keywords) for each number that the file defines."""
    found = []
    for node in ast.walk(ast.parse(source(name))):
        kind = getattr(getattr(node, "func", None), "attr", "")
        if kind in ("DEFINE_integer", "DEFINE_float"):
            found.append((kind, node.args[0].value, {word.arg for word in node.keywords}))
    return found


def test_every_number_has_bounds():
    defined = [definition for name in FILES for definition in definitions(name)]
    assert {"rounds", "batch_size", "num_workers", "peer_timeout"} <= {flag for _, flag, _ in defined}
    for kind, flag, words in defined:
        assert "lower_bound" in words and (kind == "DEFINE_float" or "upper_bound" in words), flag
        if kind == "DEFINE_float":  # NaN passes the bounds
            assert any(f'register_validator("{flag}"' in source(name) for name in FILES), flag


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("bench", ["--suite=train_step", "--patience=nan"], "flag --patience=nan: "),
        ("evaluate", ["--workdir={tmp}", "--batch_size=0"], "flag --batch_size=0: 0 is not"),
    ],
)
def test_one_line(programs, tmp_path, program, arguments, message):
    assert program in PROGRAMS
    arguments = [argument.format(tmp=tmp_path / "none") for argument in arguments]
    done = programs.run(program, *arguments, f"--out={tmp_path}/out")
    assert done.returncode == 2 and done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
