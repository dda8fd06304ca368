"""Where data comes from and how it becomes batches: numpy and grain only, no jax.

`download` fetches public files, `sources` gives a text by name or path, `tokenizers` turns it into integers,
`text` cuts one array of tokens into batches.
"""
