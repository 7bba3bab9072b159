"""The two encoders of the published method: mentions in a sentence, and entities by their names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...wordpieces import WordpieceModel, batches_by_length
from .units import Context

MAX_LENGTH = 128
"""Wordpieces, or words, that are read."""

START, END, SEPARATOR = "[START]", "[END]", "[SEP]"
BATCH_SIZE = 64

Pool = Callable[[Tensor, Sequence[int]], Tensor]
"""From the states (batch, wordpieces, width) of the rows in some places to vectors (batch, width)."""


class Encoders(Protocol):
    """Two encoders and their optimizer.

    `grad` says that a step follows; without it nothing is kept for one.
    """

    def mentions(self, contexts: Sequence[Context], *, grad: bool = False) -> Tensor:
        """RETURNS (Tensor): (contexts, width)."""

    def entities(self, texts: Sequence[Sequence[str]], *, grad: bool = False) -> Tensor:
        """RETURNS (Tensor): (texts, width); a text is types and names, in turn."""

    def step(self) -> None:
        """Update both, after the loss has been differentiated."""


class WordpieceEncoders:
    """Two BERTs from the same weights, without projection or normalisation.

    folder (Path): Of the weights.
    learn_rate (float): Of Adam.
    precision (str): As for `WordpieceModel`.
    """

    def __init__(self, folder: Path, *, learn_rate: float = 1e-5, precision: str = "auto") -> None:
        self._mention = WordpieceModel(folder, precision=precision)
        self._entity = WordpieceModel(folder, precision=self._mention.precision)
        self.precision = self._mention.precision
        self._tokenizer = self._mention.tokenizer
        self._tokenizer.add_special_tokens({"additional_special_tokens": [START, END]})
        # Their mean would be drawn from a covariance otherwise, which takes seconds and says so.
        self._mention.model.resize_token_embeddings(len(self._tokenizer), mean_resizing=False)
        self._markers = self._tokenizer.convert_tokens_to_ids([START, END])
        models = (self._mention.model, self._entity.model)
        parameters = [parameter for model in models for parameter in model.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lr=learn_rate)

    def mentions(self, contexts: Sequence[Context], *, grad: bool = False) -> Tensor:
        """RETURNS (Tensor): (contexts, width), the mean of the states of a mention's first
        and last wordpiece."""
        tokenizer = self._tokenizer
        rows, spans = [], []
        for context in contexts:
            left, mention, right = (
                tokenizer.encode(part, add_special_tokens=False) for part in context
            )
            ids, span = mark(left, mention, right, markers=self._markers, room=MAX_LENGTH - 2)
            rows.append([tokenizer.cls_token_id, *ids, tokenizer.sep_token_id])
            spans.append((span[0] + 1, span[1] + 1))

        def pool(states: Tensor, places: Sequence[int]) -> Tensor:
            ends = torch.tensor([spans[i] for i in places])
            lines = torch.arange(len(places))
            return (states[lines, ends[:, 0]] + states[lines, ends[:, 1]]) / 2

        return self._encode(self._mention, rows, pool, grad=grad)

    def entities(self, texts: Sequence[Sequence[str]], *, grad: bool = False) -> Tensor:
        """RETURNS (Tensor): (texts, width), the first state of `type [SEP] name [SEP] name ...`."""
        rows = self._tokenizer(
            [f" {SEPARATOR} ".join(parts) for parts in texts],
            truncation=True,
            max_length=MAX_LENGTH,
        )["input_ids"]
        return self._encode(self._entity, rows, lambda states, _: states[:, 0], grad=grad)

    def step(self) -> None:
        """Take a step of Adam."""
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _encode(
        self, model: WordpieceModel, rows: Sequence[list[int]], pool: Pool, *, grad: bool
    ) -> Tensor:
        """Encode rows of ids, those of one length together.

        RETURNS (Tensor): (rows, width), in their order.
        """
        model.model.train(grad)
        order: list[int] = []
        parts = []
        with torch.set_grad_enabled(grad):
            for places in batches_by_length([len(row) for row in rows], BATCH_SIZE):
                inputs = self._pad([rows[i] for i in places])
                parts.append(pool(model.states(inputs), places))
                order.extend(places)
            back = torch.empty(len(order), dtype=torch.long)
            back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
            return torch.cat(parts)[back]

    def _pad(self, rows: Sequence[list[int]]) -> dict[str, Tensor]:
        """RETURNS (dict[str, Tensor]): Ids and mask, (rows, longest) each."""
        ids = pad_sequence(
            [torch.tensor(row) for row in rows],
            batch_first=True,
            padding_value=self._tokenizer.pad_token_id,
        )
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask}


def mark(
    left: Sequence[int],
    mention: Sequence[int],
    right: Sequence[int],
    *,
    markers: Sequence[int],
    room: int,
) -> tuple[list[int], tuple[int, int]]:
    """Write a mention between its markers, with as much of the sentence as there is room for.

    left (Sequence[int]): Ids before it.
    mention (Sequence[int]): Its ids; cut if they alone are too many.
    right (Sequence[int]): Ids after it.
    markers (Sequence[int]): Ids of its start and its end.
    room (int): Ids in all.
    RETURNS (tuple[list[int], tuple[int, int]]): The ids, and the places of the mention's
        first and last one; those of the markers where it has none.
    """
    mention = list(mention)[: room - 2]
    spare = room - 2 - len(mention)
    n_left = min(len(left), max(spare // 2, spare - len(right)))
    kept = list(left)[len(left) - n_left :]
    start, end = markers
    ids = [*kept, start, *mention, end, *list(right)[: spare - n_left]]
    if not mention:
        return ids, (n_left, n_left + 1)
    return ids, (n_left + 1, n_left + len(mention))
