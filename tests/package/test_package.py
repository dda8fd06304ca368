"""The package as others get it: a wheel in a clean environment, its metadata, and Colab's own versions kept."""

import json
import pathlib
import re
import subprocess
import sys
import venv

import pytest
import yaml

import xlstm_jax
from experiments.programs.cli import ROOT, config_at
from experiments.sweeping.runner import load

# What Colab has installed, which the requirements must leave as it is.
COLAB = {"numpy": "2.1", "absl-py": "1.4", "protobuf": "5.29"}


def run(*command, **options) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Built from the source distribution, so that this one holds all it takes."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_a_wheel_in_a_clean_environment(wheel, tmp_path):
    """Installed with what it asks for and nothing else, it trains, samples and evaluates from any folder."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-I", "-m", "pip", "install", "--quiet", wheel)
    env = {"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu", "XLSTM_JAX_CACHE": str(tmp_path / "cache")}
    env["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "compiled")

    def program(name, *arguments):
        return run(python, "-m", f"experiments.{name}", *arguments, cwd=tmp_path, env=env)

    (tmp_path / "text.txt").write_text("to be or not to be, that is the question\n" * 300)
    steps = ("--config.train.steps=4", "--config.train.eval_every=2", "--config.sample.length=0")
    out = program(
        "train", "--config=configs/char_lm.py:tiny", f"--config.data.path={tmp_path}/text.txt", "--workdir=run", *steps
    )
    assert "step 4  validation loss" in out
    assert len(program("generate", "--workdir=run", "--prompt=to be", "--length=5").strip()) >= 5
    assert "loss" in program("evaluate", "--workdir=run", "--split=validation")
    version = run(python, "-c", "import xlstm_jax; print(xlstm_jax.__version__)", cwd=tmp_path).strip()
    assert version == xlstm_jax.__version__ and f"-{version}-" in wheel.name


@pytest.mark.slow
def test_colab_keeps_its_versions(tmp_path):
    """The requirements are resolved with them for Colab's Python, whatever this one is."""
    options = ("--dry-run", "--quiet", "--python-version=3.13", "--only-binary=:all:", f"--target={tmp_path}")
    command = [sys.executable, "-m", "pip", "install", *options, "--report=-", "-r", ROOT / "requirements.txt"]
    report = json.loads(run(*command, *(f"{name}=={version}.*" for name, version in COLAB.items())))
    found = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in report["install"]}
    for name, version in COLAB.items():
        assert found[name].startswith(f"{version}."), found


def test_files_of_the_project_are_found_from_anywhere(tmp_path, monkeypatch):
    """The user's own come first."""
    monkeypatch.chdir(tmp_path)
    assert config_at("configs/quickstart.py").task == "language_model"
    assert load("experiments/sweeps/recall.py:tiny").config.startswith("configs/recall.py")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.py").write_text("def get_config():\n    return 'mine'\n")
    assert config_at("configs/quickstart.py") == "mine"


def test_the_citation_and_the_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    assert citation["version"] == xlstm_jax.__version__ and citation["title"].startswith("xlstm_jax")
    released = re.findall(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert released[0] == xlstm_jax.__version__
