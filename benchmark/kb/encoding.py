"""Vectors of many names, in a file."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spacy_metric_el.files import replaced_file
from spacy_metric_el.geometry import unit_rows
from spacy_metric_el.kb.index.buffers import row_buffer

from ..errors import BenchmarkError, Errors
from .names import Names

SURFACE = "surface"
ENCODERS = ("minilm", SURFACE)
BATCH = 16_384

SHARES = (0.85, 0.35)
"""Of the first and the second name in the vector of one that is made of both."""

Encode = Callable[[Sequence[str]], np.ndarray]


def make_encoder(encoder: str, names: Sequence[str], width: int) -> tuple[Encode, str]:
    """Make an encoder of names.

    encoder (str): `minilm`, all-MiniLM-L6-v2 as it is, 384 wide; or `surface`, this
        project's surface channel, untrained, fitted to the names.
    names (Sequence[str]): That it is fitted to.
    width (int): Of the surface channel.
    RETURNS (tuple[Encode, str]): Texts to unit vectors, (n, width) float32; and what it is.
    RAISES (MetricELError): E410 for another encoder, E406 without the weights' package.
    """
    if encoder == SURFACE:
        return _surface(names, width), f"{SURFACE} channel, {width} wide"
    if encoder != "minilm":
        expected = " or ".join(ENCODERS)
        raise BenchmarkError(
            Errors.E410.format(setting="encoder", value=encoder, expected=expected)
        )
    from ..wordpieces import WordpieceModel, find_model

    model = WordpieceModel(find_model())
    return model.encode_all, f"all-MiniLM-L6-v2, {model.width} wide"


def encode_names(
    encode: Encode, encoder: str, names: Sequence[str], cache: Path, *, progress: bool
) -> np.ndarray:
    """Encode names, or take their vectors from the cache.

    encode (Encode): The encoder.
    encoder (str): What it is.
    names (Sequence[str]): The names.
    cache (Path): Folder of the vectors.
    progress (bool): Whether to show a progress bar.
    RETURNS (np.ndarray): (n, width) float16, mapped.
    """
    digest = hashlib.blake2b(encoder.encode("utf8"), digest_size=12)
    for name in names:
        digest.update(name.encode("utf8") + b"\0")
    path = cache / f"rows-{digest.hexdigest()}.npy"
    if not path.is_file():
        parts = encode_parts(encode, names, progress=progress)
        vectors = np.concatenate([part.astype(np.float16) for part in parts])
        with replaced_file(path) as fresh, fresh.open("wb") as file:
            np.save(file, vectors)
    return np.load(path, mmap_mode="r")


def all_rows(
    names: Names, encode: Encode, encoder: str, width: int, cache: Path, *, progress: bool
) -> np.ndarray:
    """Gather the vectors of all names: those of made names are mixed, but for the surface channel.

    names (Names): The names.
    encode (Encode): The encoder.
    encoder (str): What it is.
    width (int): Columns to keep; vectors are of unit length afterwards.
    cache (Path): Folder of the vectors; a file without a name grows there, too.
    progress (bool): Whether to show progress bars.
    RETURNS (np.ndarray): (n, width); see `row_buffer`.
    """
    n, n_real = len(names.indexed), names.n_real
    rows = row_buffer(n, width, cache)
    if encoder.startswith(SURFACE):
        parts = encode_parts(encode, names.indexed, progress=progress)
        for start, part in zip(range(0, n, BATCH), parts, strict=True):
            rows[start : start + BATCH] = cut(part, width)
        return rows
    real = encode_names(encode, encoder, names.indexed[:n_real], cache, progress=progress)
    for start in range(0, n, BATCH):
        end = min(start + BATCH, n)
        both = [np.asarray(real[start:end], dtype=np.float32)]
        first, second = names.parents[max(start - n_real, 0) : max(end - n_real, 0)].T
        both.append(SHARES[0] * real[first] + SHARES[1] * real[second])
        rows[start:end] = cut(np.concatenate(both), width)
    return rows


def cut(vectors: np.ndarray, width: int) -> np.ndarray:
    """RETURNS (np.ndarray): (n, width) float32, their first columns at unit length."""
    return unit_rows(np.asarray(vectors[:, :width], dtype=np.float32))


def encode_parts(
    encode: Encode, names: Sequence[str], *, progress: bool = False
) -> Iterator[np.ndarray]:
    """YIELDS (np.ndarray): (at most BATCH, width) float32, of the names in their order."""
    with tqdm(total=len(names), desc="Encoding", unit=" names", disable=not progress) as bar:
        for start in range(0, len(names), BATCH):
            part = names[start : start + BATCH]
            yield encode(part)
            bar.update(len(part))


def _surface(names: Sequence[str], width: int) -> Encode:
    from spacy_metric_el.model.surface import fit_weights, surface_channel

    channel = surface_channel(width)
    channel.initialize()
    fit_weights(channel, names)

    return lambda texts: cut(np.asarray(channel.predict(list(texts))), width)
