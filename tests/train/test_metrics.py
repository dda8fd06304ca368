"""What a run writes for people."""

import json
import math
import struct
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import image

from xlstm_jax.train.workdir.metrics import MetricWriter, draw_losses, read_metrics


def write(workdir, steps, last_step=0, scale=1.0):
    writer = MetricWriter(workdir, last_step)
    for step in steps:
        writer.write(step, {"train/loss": scale / step})
    writer.close()


def test_one_flat_object_a_line(tmp_path):
    write(tmp_path, [1, 2])
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "train/loss": 1.0}, {"step": 2, "train/loss": 0.5}]
    assert read_metrics(tmp_path) == [json.loads(line) for line in lines]


def test_events_are_records_with_checksums(tmp_path):
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import masked_crc32c

    write(tmp_path, [1, 2])
    write(tmp_path, [3], last_step=2)
    found = []
    for path in sorted(tmp_path.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,), size = struct.unpack("<Q", data[:8]), data[:8]
            record, sums = data[12 : 12 + length], (data[8:12], data[12 + length : 16 + length])
            assert sums == tuple(struct.pack("<I", masked_crc32c(part)) for part in (size, record))
            found.append(event_pb2.Event.FromString(record))
            data = data[16 + length :]
    assert found[0].file_version == "brain.Event:2"
    scalars = [(event.step, value.tag, value.simple_value) for event in found for value in event.summary.value]
    assert scalars[-1] == (3, "train/loss", float(np.float32(1 / 3)))
    assert [event.step for event in found if event.HasField("session_log")] == [3]


def test_a_line_is_on_disk_when_written(tmp_path):
    """A killed run leaves what it measured."""
    writer = MetricWriter(tmp_path, 0)
    writer.write(1, {"train/loss": 2.0})
    assert read_metrics(tmp_path) == [{"step": 1, "train/loss": 2.0}]
    writer.close()


def test_resumed_run_drops_what_it_writes_again(tmp_path):
    write(tmp_path, range(1, 8))
    before = (tmp_path / "metrics.jsonl").read_bytes().splitlines()[:4]
    write(tmp_path, range(5, 7), last_step=4, scale=10.0)
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "metrics.jsonl").read_bytes().splitlines()[:4] == before  # to the last digit
    assert records[4]["train/loss"] == 2.0


@pytest.mark.parametrize("end", ['{"step": 3, "train/l', "{", '{"step"'])
def test_cut_off_last_line_is_left_out(tmp_path, end):
    write(tmp_path, [1, 2])
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(end)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]
    write(tmp_path, [3], last_step=2)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3]


RECORDS = [{"step": step, "train/loss": 1.0 / step} for step in range(1, 7)]
LINES = [json.dumps(record).encode() for record in RECORDS]
# (what stands in the place of line 3, the steps that can be read)
DAMAGED = {
    "blank": (b"", [1, 2, 4, 5, 6]),
    "torn": (LINES[2][:20], [1, 2, 4, 5, 6]),
    "two in one": (LINES[2] + LINES[2].replace(b"3", b"4"), [1, 2, 3, 4, 4, 5, 6]),
    "torn, and a whole one": (LINES[2][:20] + LINES[2], [1, 2, 3, 4, 5, 6]),
    "no UTF-8": (b"\xff" + LINES[2], [1, 2, 3, 4, 5, 6]),
    "bytes of a failing disk": (b"\x00\xff\x80" * 20, [1, 2, 4, 5, 6]),
    "no record": (b"[3]", [1, 2, 4, 5, 6]),
    "no step": (b'{"train/loss": 1.0}', [1, 2, 4, 5, 6]),
    "a step that is no number": (b'{"step": "3"}', [1, 2, 4, 5, 6]),
    "a negative step": (b'{"step": -3, "train/loss": 1.0}', [1, 2, 4, 5, 6]),
    "a value that is no number": (LINES[2][:-1] + b', "train/loss": null}', [1, 2, 4, 5, 6]),
    "a number without end": (LINES[2][:-1] + b', "train/loss": 1' + b"0" * 400 + b"}", [1, 2, 4, 5, 6]),
    "brackets without end": (b"[" * 100_000, [1, 2, 4, 5, 6]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_line_in_the_middle(tmp_path, capsys, case):
    """The others are kept, on resume too; one line says so, and none is left to say it of afterwards."""
    line, steps = DAMAGED[case]
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in [*LINES[:2], line, *LINES[3:]]))
    assert [record["step"] for record in read_metrics(tmp_path)] == steps
    whole = len(steps) - 5
    found = {0: "", 1: " and 1 complete record in damaged lines", 2: " and 2 complete records in damaged lines"}
    wanted = f"{path}: line 3 is damaged; keeping all other lines{found[whole]}\n"
    assert capsys.readouterr().err == wanted
    write(tmp_path, [6], last_step=5)
    assert capsys.readouterr().err == wanted
    assert [record["step"] for record in read_metrics(tmp_path)] == [step for step in steps if step < 6] + [6]
    assert capsys.readouterr().err == ""


def test_several_damaged_lines(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([LINES[0], b"x", b"", LINES[3], b'{"step": 7, "tr\xff']))
    assert read_metrics(tmp_path) == [RECORDS[0], RECORDS[3]]
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'metrics.jsonl'}: 2 lines from line 2 on are damaged; keep")


# With the first record it leaves room for one more line of metrics.jsonl and a part of the next.
NO_ROOM = """
import resource, sys
from xlstm_jax.train.workdir.metrics import MetricWriter
writer = MetricWriter(sys.argv[1], 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (2100, 2100))
for step in range(2, 9):
    try:
        writer.write(step, {"train/loss": 1 / 3})
    except OSError as error:
        print(step, error.strerror, error.filename)
writer.close()
"""


def test_no_room_for_a_line(tmp_path):
    """It is left out whole; the ones before stay."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "n" * 2006: 1}) + "\n")
    command = [sys.executable, "-c", NO_ROOM, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{step} File too large {path}" for step in range(3, 9)]
    assert done.stderr == ""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_no_metrics_yet(tmp_path):
    assert read_metrics(tmp_path) == []


def test_floats_come_back_exactly(tmp_path):
    loss = float(np.float32(0.1)) * math.pi
    writer = MetricWriter(tmp_path, 0)
    writer.write(1, {"train/loss": loss})
    writer.close()
    assert read_metrics(tmp_path)[0]["train/loss"] == loss


def coloured(path) -> int:
    """Pixels that are no shade of grey: curves, unlike text, grid and axes, are drawn in colour."""
    pixels = image.imread(path)[..., :3]
    assert pixels.shape[0] > 300 and pixels.shape[1] > 500
    return int((np.ptp(pixels, axis=-1) > 0.2).sum())


def test_figure(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    for step in range(1, 20):
        writer.write(step, {"train/loss": 3.0 / step})
    writer.close()
    path = draw_losses(tmp_path, "nats per char")
    assert path == tmp_path / "loss.png" and path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    train_only = coloured(path)
    assert train_only > 500
    writer = MetricWriter(tmp_path, 19)
    for step in (10, 19):
        writer.write(step, {"validation/loss": 4.0 / step})
    writer.close()
    assert coloured(draw_losses(tmp_path, "nats per char")) > train_only
    assert not list(tmp_path.glob("*tmp*"))
