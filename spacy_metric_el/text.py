"""Text before it is compared: the normal form of names, and character n-grams as hashes."""

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

UInt64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_SPACE = 0x20
_END = 0x0A


def normalise_name(name: str) -> str:
    """Bring two spellings of one name to the same string.

    Compatibility forms are folded (NFKC), case is folded, and runs of white
    space become one space.

    name (str): A name or the text of a mention.
    RETURNS (str): The key under which aliases are stored and looked up.
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def stable_hash(text: str) -> int:
    """RETURNS (int): 64 bits, the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf8"), digest_size=8).digest(), "little")


def hash_ngrams(
    texts: Sequence[str], *, min_size: int = 2, max_size: int = 5
) -> tuple[UInt64s, Int64s]:
    """Hash the character n-grams of each text, bounded by words, without a loop over characters.

    A word is padded with one space on each side; an n-gram may begin or end
    with that space, and never reaches into the next word. Anything but letters
    and digits counts as a space, unless the text holds nothing else.

    texts (Sequence[str]): Normalised texts (`normalise_name`).
    min_size (int): Shortest n-gram, in characters.
    max_size (int): Longest n-gram, in characters.
    RETURNS (tuple[UInt64s, Int64s]): The hashes, shape (n,), and for each the
        index of its text, shape (n,), in rising order.
    """
    points = np.frombuffer(
        "".join(f" {_words_only(text)} \n" for text in texts).encode("utf-32-le"), dtype=np.uint32
    )
    n_points = len(points)
    owner = np.cumsum(points == _END)
    is_break = (points == _SPACE) | (points == _END)
    breaks_before = np.concatenate(([0], np.cumsum(is_break)))
    hashes: list[UInt64s] = []
    owners: list[Int64s] = []
    rolling = np.zeros(n_points, dtype=np.uint64)
    for size in range(1, min(max_size, n_points) + 1):
        n_windows = n_points - size + 1
        rolling = (rolling[:n_windows] ^ points[size - 1 :]) * _MULTIPLIER
        rolling ^= rolling >> _SHIFT
        if size < min_size:
            continue
        # Windows overlap their neighbours' padding: keep those without a break
        # inside, and at least one character that is none.
        inner = breaks_before[size - 1 : size - 1 + n_windows] - breaks_before[1 : n_windows + 1]
        whole = breaks_before[size : size + n_windows] - breaks_before[:n_windows]
        keep = (inner == 0) & (whole < min(size, 3)) & (points[:n_windows] != _END)
        keep &= points[size - 1 :] != _END
        hashes.append(rolling[keep])
        owners.append(owner[:n_windows][keep])
    if not hashes:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    all_hashes, all_owners = np.concatenate(hashes), np.concatenate(owners)
    order = np.argsort(all_owners, kind="stable")
    return all_hashes[order], all_owners[order].astype(np.int64)


def _words_only(text: str) -> str:
    if text.isalnum():
        return text
    words = "".join(char if char.isalnum() else " " for char in text).split()
    return " ".join(words) if words else "".join(text.split())
