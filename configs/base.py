"""Every knob there is, with its default. Other config files start from here and change what they need.

A run's config can be overridden on the command line: `--config.train.steps=300`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "language_model"  # a name in xlstm_jax.tasks.TASKS
    config.seed = 0  # of the parameters, the order of the data, and dropout; from 0 to 2**32 - 1

    config.data = ConfigDict()
    config.data.source = "stdlib"  # text: stdlib (source of Python's standard library) | tinyshakespeare
    config.data.path = ""  # a text file, a .jsonl file ("text" in each line) or a folder of .txt files; before source
    config.data.mixture = ""  # "tinyshakespeare:0.7,my/folder:0.3": sources or paths with weights; before path
    config.data.document_separator = ""  # between documents of one text (a line each: $'\n'); "": it is one document
    config.data.tokenizer = "byte"  # byte | char | bpe
    config.data.vocab_size = 4096  # tokens of a bpe, which is trained on the text; at least 257
    config.data.tokenizer_path = ""  # a tokenizer.json (Hugging Face's, byte-level BPE) for bpe; "": one is trained
    config.data.train_fraction = 0.9  # the rest, at the end of the text, is for validation
    # windows: random, each from an empty state | stream: contiguous, state passed on | packed: whole documents, several
    # in a row, each from an empty state
    config.data.sampling = "windows"  # windows | stream | packed
    config.data.sequence_length = 100  # tokens a row of a batch
    config.data.batch_size = 64  # rows a batch, over all devices

    config.model = ConfigDict()
    config.model.features = 128  # width of the embedding and of every block
    config.model.pattern = "ms"  # a letter a block (README, Models), or xLSTM[a:b]: a mLSTM blocks to b sLSTM blocks
    config.model.num_blocks = 0  # of a pattern xLSTM[a:b], a multiple of a + b; 0: a + b
    config.model.dropout = 0.0  # on the embedding and on what each block adds
    config.model.embedding_std = 0.0  # standard deviation of the embedding at the start; 0: sqrt(2 / (5 features))
    config.model.final_norm = True  # a norm before the head
    config.model.norm = "layer"  # layer | rms: the final norm
    config.model.norm_eps = 1e-5  # of the final norm
    config.model.logit_softcap = 0.0  # logits lie in +- this; 0: anywhere
    config.model.tie_embedding = False  # the head's matrix is the embedding's
    # float32 | bfloat16 | float64 (which needs JAX_ENABLE_X64=1); parameters are float32, states at least float32
    config.model.dtype = "float32"  # of the products
    # computed again in the backward pass, for memory: none | dots (each block but its products with weights) | full
    config.model.remat = "none"  # on CPU it takes scan_layers to save memory
    # Plain JAX code in place of hand-written backward passes, for jax.jvp, jax.jacfwd, jax.hessian; slower to train.
    config.model.forward_mode = False  # forward-mode derivatives of all blocks
    config.model.scan_layers = False  # repeated blocks are in the program once; their parameters are kept stacked

    config.model.mlstm = ConfigDict()  # the mLSTM block
    config.model.mlstm.num_heads = 4
    config.model.mlstm.proj_factor = 2.0  # inner width over model width
    config.model.mlstm.qkv_block_size = 4  # blocks of the block-diagonal q, k, v maps
    config.model.mlstm.conv_width = 4  # taps of the causal convolution; 0: none
    config.model.mlstm.ffn_factor = 0.0  # width of a feed-forward layer after it over model width; 0: none
    config.model.mlstm.input_gate = "exp"  # exp | sigmoid
    config.model.mlstm.forget_gate = "sigmoid"  # sigmoid | exp
    # A gate's pre-activation: linear (a map of q, k, v, and a bias) | bias (that alone) | fixed (that, as it starts)
    config.model.mlstm.input_gate_form = "linear"  # linear | bias | fixed
    config.model.mlstm.forget_gate_form = "linear"  # linear | bias | fixed
    config.model.mlstm.input_bias_mean = 0.0  # the input gate's bias starts normal, about this ...
    config.model.mlstm.input_bias_std = 0.1  # ... with this standard deviation
    config.model.mlstm.forget_bias_low = 3.0  # the forget gate's starts evenly spread over heads, from this ...
    config.model.mlstm.forget_bias_high = 6.0  # ... to this
    config.model.mlstm.chunk_size = 0  # of the chunkwise form; 0: chosen from the length
    config.model.mlstm.implementation = ""  # recurrent | parallel | chunkwise | associative | pallas; "": chosen

    config.model.slstm = ConfigDict()  # the sLSTM block
    config.model.slstm.num_heads = 4
    config.model.slstm.proj_factor = 0.0  # inner width over model width, as of the mLSTM block; 0: the model's own
    config.model.slstm.conv_width = 4  # taps of the causal convolution; 0: none
    config.model.slstm.ffn_factor = 1.3  # feed-forward width over model width, up to a multiple of 64; 0: no such layer
    config.model.slstm.input_gate = "exp"  # exp | sigmoid
    config.model.slstm.forget_gate = "sigmoid"  # sigmoid | exp
    config.model.slstm.implementation = ""  # scan | pallas; "": chosen

    config.model.recurrent = ConfigDict()  # the plain recurrent layer
    config.model.recurrent.cell = "lstm"  # rnn | lstm | gru | slstm | mlstm: a name in xlstm_jax.cells.CELLS
    config.model.recurrent.forget_bias = 1.0  # where the forget gate's bias starts, in cells of the LSTM's kind
    config.model.recurrent.recurrent_init = "orthogonal"  # of recurrent matrices, or identity | glorot | uniform
    config.model.recurrent.dropout = 0.0  # inside the layer; model.dropout is that between layers
    # variational (one mask a sequence, on inputs and what is fed back) | recurrent (a fresh mask a step, on what is fed
    # back) | zoneout (features of the carry stay as they were)
    config.model.recurrent.dropout_kind = "variational"  # of recurrent.dropout
    config.model.recurrent.norm = "none"  # of the layer's input: none | layer | rms | batch
    config.model.recurrent.residual = False  # the block adds its input to its output
    config.model.recurrent.ffn_factor = 0.0  # as of the mLSTM block; needs residual

    config.model.xlstm = ConfigDict()  # the block of xLSTM 7B
    config.model.xlstm.num_heads = 4
    config.model.xlstm.qk_factor = 0.5  # width of all heads' queries, and of their keys, over model width
    config.model.xlstm.v_factor = 1.0  # of their values
    config.model.xlstm.ffn_factor = 2.667  # feed-forward width over model width, rounded up to ...
    config.model.xlstm.ffn_multiple = 64  # ... a multiple of this
    config.model.xlstm.ffn_features = 0  # feed-forward width itself; 0: from ffn_factor
    config.model.xlstm.gate_softcap = 15.0  # pre-activations of i and f lie in +- this
    config.model.xlstm.norm_eps = 1e-6  # of its RMS norms and head norm
    config.model.xlstm.eps = 1e-6  # added to the mLSTM's denominator
    config.model.xlstm.chunk_size = 0  # of the chunkwise form; 0: chosen from the length
    config.model.xlstm.implementation = ""  # as of the mLSTM block

    config.model.transformer = ConfigDict()  # Llama's block
    config.model.transformer.num_heads = 4
    config.model.transformer.num_kv_heads = 0  # heads of keys and values; 0: num_heads
    config.model.transformer.context = 2048  # steps that a step sees, itself among them
    config.model.transformer.rotary_base = 10_000.0  # of the rotary positions' angles
    config.model.transformer.ffn_factor = 8 / 3  # feed-forward width over model width, rounded up to ...
    config.model.transformer.ffn_multiple = 64  # ... a multiple of this
    config.model.transformer.norm_eps = 1e-5  # of its RMS norms

    config.model.mamba2 = ConfigDict()  # Mamba-2's block
    config.model.mamba2.expansion = 2.0  # inner width over model width
    config.model.mamba2.head_features = 64  # of the inner width, a head
    config.model.mamba2.state_features = 128  # N
    config.model.mamba2.num_groups = 1  # of heads that share B and C
    config.model.mamba2.conv_width = 4  # taps of the causal convolution
    config.model.mamba2.norm_eps = 1e-5  # of its RMS norms
    config.model.mamba2.chunk_size = 0  # of the chunkwise form; 0: chosen from the length
    config.model.mamba2.implementation = ""  # as of the mLSTM block

    config.model.minimal = ConfigDict()  # the block of minLSTM and minGRU
    config.model.minimal.cell = "minlstm"  # minlstm | mingru
    config.model.minimal.expansion = 2.0  # width of the recurrence over model width
    config.model.minimal.conv_width = 4  # taps of the causal convolution
    config.model.minimal.ffn_factor = 8 / 3  # feed-forward width over model width, rounded up to ...
    config.model.minimal.ffn_multiple = 64  # ... a multiple of this

    config.model.griffin = ConfigDict()  # Griffin's recurrent block (RG-LRU)
    config.model.griffin.num_heads = 4  # blocks of the gates' block-diagonal maps
    config.model.griffin.expansion = 4 / 3  # width of the recurrence over model width
    config.model.griffin.conv_width = 4  # taps of the causal convolution
    config.model.griffin.ffn_factor = 3.0  # feed-forward width over model width, rounded up to ...
    config.model.griffin.ffn_multiple = 64  # ... a multiple of this

    config.model.rwkv6 = ConfigDict()  # RWKV-6's block
    config.model.rwkv6.head_features = 64  # features a head
    config.model.rwkv6.mix_rank = 32  # of the maps that weigh a step's input against the last one's
    config.model.rwkv6.decay_rank = 64  # of the map that makes the decay
    config.model.rwkv6.ffn_factor = 3.5  # feed-forward width over model width

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"  # adamw | adam | rmsprop | sgd
    config.optimizer.learning_rate = 1e-3  # at its highest
    config.optimizer.schedule = "constant"  # after the warm-up: constant | cosine | linear
    config.optimizer.warmup_steps = 0  # linear from 0
    config.optimizer.final_scale = 0.1  # of the learning rate, reached by cosine and linear at train.steps
    config.optimizer.weight_decay = 0.0  # adamw's, on matrices only
    config.optimizer.clip_norm = 1.0  # global norm of the gradient; 0: no clipping
    config.optimizer.b1 = 0.9  # adamw, adam
    config.optimizer.b2 = 0.999  # adamw, adam; decay of the squares in rmsprop
    config.optimizer.momentum = 0.0  # sgd, rmsprop

    config.mesh = ConfigDict()  # devices along each axis; may differ when a run is taken up again
    config.mesh.data = 0  # rows of a batch; 0: all devices that the other axes leave
    config.mesh.fsdp = 1  # rows of a batch, and parameters with the optimizer's state
    config.mesh.tensor = 1  # heads, inner features and the vocabulary
    config.mesh.context = 1  # steps of a sequence

    config.train = ConfigDict()
    config.train.steps = 1000  # may be raised when a run is taken up again; a decaying schedule then stretches
    config.train.accumulate = 1  # equal parts of a batch's rows, read one after another; their gradients make one step
    config.train.log_every = 10  # steps between lines in metrics.jsonl
    config.train.eval_every = 100  # steps between evaluations; each one is followed by a checkpoint
    config.train.keep = 2  # latest checkpoints kept, beside the best one
    # Steps in a row whose loss or gradient is not finite and that change nothing; one more ends the run.
    config.train.max_skipped = 10  # 0: the first ends it
    config.train.peak_flops = 0.0  # of one device, FLOP/s, for train/utilisation; 0: by its name, where that is known

    config.evaluation = ConfigDict()
    config.evaluation.carry = False  # pass the state from window to window; else every window starts empty

    config.sample = ConfigDict()  # the text shown at the end of training
    config.sample.prompt = ""  # "": the start of the validation text
    config.sample.length = 200  # tokens; 0: no sample
    config.sample.temperature = 0.8
    return config
