"""Where data comes from and how it becomes batches: numpy and grain only, no jax.

`download` fetches public files, `sources` gives documents by name or path, `tokenizers` and `bpe` turn them into
integers, `token_cache` keeps those on disk, `corpus` cuts a source into its splits. `batches` are cut from one
array of tokens: `text` says where, `packing` for documents side by side, `mixture` for several sources.
"""
