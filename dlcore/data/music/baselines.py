"""What simple counting knows of a chorale's next frame: numbers that a network must beat."""

from collections.abc import Iterator

import numpy as np

from dlcore.data.batch import Batch, get_field
from dlcore.data.music.musicxml import NOTES

START = NOTES
PRIOR = 5.0
"""How many observations the marginal distribution counts for, beside those of a note after a note."""


def chorale_baselines(train: Batch, test: Batch) -> dict[str, float]:
    """Negative log-likelihoods of a frame of four voices, in nats, of models that count on ``train``.

    Two conventions are in use. By voices, as the experiment ``chorales``, each voice has one note of 128. By keys, as
    published numbers of the JSB chorales, each of a piano's 88 keys is on or off, independently of the others.

    - ``marginal``: each voice's note by its frequency.
    - ``previous_frame``: each voice's note given its own note in the frame before.
    - ``keys_marginal``, ``keys_previous_frame``: the same for each key.

    Args:
        train: a part of `bach_chorales`, with ``inputs [N, T, V]`` and ``lengths [N]``.
        test: the part to measure.

    Returns:
        The four numbers by name.

    Raises:
        TypeError: a part is not a dict.
        ValueError: a part lacks a field.

    >>> frames = np.tile(np.array([[60], [62]]), (50, 4))  # all four voices change between two notes
    >>> part = {"inputs": frames[None], "lengths": np.array([100])}
    >>> {name: round(nll, 1) for name, nll in chorale_baselines(part, part).items() if "keys" not in name}
    {'marginal': 2.8, 'previous_frame': 0.2}
    """
    results = {"marginal": 0.0, "previous_frame": 0.0}
    frames = sum(map(len, _pieces(test)))
    for voice in range(get_field(train, "inputs").shape[2]):
        marginal, after = _count([piece[:, voice] for piece in _pieces(train)])
        for piece in _pieces(test):
            notes = piece[:, voice]
            before = np.concatenate([[START], notes[:-1]])
            results["marginal"] -= np.log(marginal[notes]).sum() / frames
            results["previous_frame"] -= np.log(after[before, notes]).sum() / frames
    return {name: float(nll) for name, nll in results.items()} | _of_keys(train, test)


def _pieces(part: Batch) -> Iterator[np.ndarray]:
    for notes, length in zip(get_field(part, "inputs"), get_field(part, "lengths"), strict=True):
        yield notes[:length]


def _count(melodies: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The smoothed distribution of notes, ``[128]``, and that of the notes after each note or none, ``[129, 128]``."""
    counts = np.zeros((NOTES + 1, NOTES))
    for notes in melodies:
        np.add.at(counts, (np.concatenate([[START], notes[:-1]]), notes), 1)
    marginal = counts.sum(axis=0) + 1 / NOTES
    marginal /= marginal.sum()
    return marginal, (counts + PRIOR * marginal) / (counts.sum(axis=1, keepdims=True) + PRIOR)


def _of_keys(train: Batch, test: Batch) -> dict[str, float]:
    counts = np.full((3, 88, 2), 0.5)
    for keys, before in map(_keys, _pieces(train)):
        np.add.at(counts, (before, np.arange(88), keys), 1)
    after = np.log(counts / counts.sum(axis=-1, keepdims=True))
    marginal = np.log(counts.sum(axis=0) / counts.sum(axis=(0, 2))[:, None])
    frames, results = 0, np.zeros(2)
    for keys, before in map(_keys, _pieces(test)):
        frames += len(keys)
        results -= marginal[np.arange(88), keys].sum(), after[before, np.arange(88), keys].sum()
    return dict(zip(("keys_marginal", "keys_previous_frame"), (results / frames).tolist(), strict=True))


def _keys(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which keys of a piano, 21 to 108, are on in each frame ``[T, 88]``, and in the one before; 2: none."""
    keys = (piece[:, :, None] == np.arange(21, 109)).any(axis=1).astype(int)
    return keys, np.concatenate([np.full((1, 88), 2), keys[:-1]])
