"""Data sets and batches. Uses numpy and grain only, no jax.

`download` fetches public files; `batches` has the parts that all sources of batches share. In `text`, `sources` reads
documents by name or path, `tokenizers` and `bpe` encode them, `token_cache` keeps the tokens on disk, and `corpus`
splits a source. `windows`, `packing` (several documents per row) and `mixture` (several sources) cut batches from an
array of tokens. `problems` generates synthetic rows.
"""
