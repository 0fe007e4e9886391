"""Attention and its decoders as plain NumPy loops: row by row, step by step. Complex numbers pass through."""

import numpy as np


def softmax(scores):
    weights = np.exp(scores - scores.real.max()) if len(scores) else scores
    return weights / weights.sum()


def scores(params, query, memory):
    """The scores of one row's memory ``[S, M]``."""
    if "score_kernel" in params:
        keys = memory @ params["memory_kernel"]
        return np.array(
            [np.tanh(query @ params["query_kernel"] + key) @ params["score_kernel"][:, 0] for key in keys]
        )
    return np.array(
        [query @ (m @ params["memory_kernel"] if "memory_kernel" in params else m) for m in memory]
    )


def decode(step, params, inputs, memory, initial, lengths, memory_lengths):
    """A whole decoder.

    Args:
        step: the cell, as in `reference`.
        params: the decoder's, by path.
        inputs: ``[B, T, E]``.
        memory: ``[B, S, M]``.
        initial: the parts of the cell's state and the outputs before the first step.
        lengths: ``[B]``.
        memory_lengths: ``[B]``.

    Returns:
        The final carry ``[*state, outputs]``, the outputs and the weights.
    """
    final = [np.array(part, np.result_type(inputs, memory, *initial, *params.values())) for part in initial]
    outputs = np.zeros((*inputs.shape[:2], final[-1].shape[-1]), final[-1].dtype)
    weights = np.zeros((*inputs.shape[:2], memory.shape[1]), final[-1].dtype)
    cell_params, attention_params = (
        {path.split("/")[1]: value for path, value in params.items() if path.startswith(name)}
        for name in ("cell", "attention")
    )

    def cell(state, *inputs):
        after = step(cell_params, tuple(state) if len(state) > 1 else state[0], np.concatenate(inputs))
        return list(after) if isinstance(after, tuple) else [after]

    def read(query, valid):
        looks = softmax(scores(attention_params, query, valid))
        return looks, looks @ valid if len(valid) else np.zeros(valid.shape[-1])

    for row, (length, memory_length) in enumerate(zip(lengths, memory_lengths, strict=True)):
        valid = memory[row, :memory_length]
        *state, fed_back = (part[row] for part in final)
        for t in range(length):
            if "output_kernel" in params:
                state = cell(state, inputs[row, t], fed_back)
                looks, context = read(state[-1], valid)
                fed_back = np.tanh(np.concatenate([context, state[-1]]) @ params["output_kernel"])
            else:
                looks, context = read(fed_back, valid)
                state = cell(state, inputs[row, t], context)
                fed_back = state[-1]
            outputs[row, t], weights[row, t, :memory_length] = fed_back, looks
        for part, value in zip(final, [*state, fed_back], strict=True):
            part[row] = value
    return final, outputs, weights
