"""Splice sites: 13,666 sequences of 60 or 140 nucleotides around the borders of exons.

EI is a border of an exon and an intron (donor), IE of an intron and an exon (acceptor), N neither; a border is in the
middle. The sequences are those of Regan, Saghafi & Li 2021, "Splice junction identification using long short-term
memory neural networks" (Current Genomics 22), whose test parts are random. There is no published split.
"""

from xlstm_jax.data.download import FILES, RemoteFile, fetch, github
from xlstm_jax.data.series.classes import own
from xlstm_jax.data.series.classes.labelled import LabelledSeries

NAME = "splice/full_data.csv"
FILES[NAME] = RemoteFile(
    github("kr0401/LSTM_Splice", "beb69b02ec049b4cc8149f8b4e27908527d87ff4", "full_data.csv"),
    "72f874c724056fe8c0b8fc8c864a49728c994aaf78da899de73ac2decd4315e2",
)


def read() -> LabelledSeries:
    """The part "train", with all sequences. Downloads the file on first use."""
    return own.read(str(fetch(NAME)), own.Columns("Class", sequence="Sequence"))
