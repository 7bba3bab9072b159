"""`evaluate`: how well a pipeline links the mentions of a corpus."""

from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from spacy.cli._util import Arg, Opt
from wasabi import Printer

from ..corpus.files import check_corpus, read_examples, read_mentions
from ..errors import Errors, MetricELError
from ._util import app, load_pipeline, shows_progress, use_device

if TYPE_CHECKING:
    from ..evaluation.mentions import LinkedMention
    from ..kb import FaissKnowledgeBase
    from ..kb.records import Records

NAMES_AT_ONCE = 50_000


@app.command("evaluate")
def evaluate_cli(
    model: Annotated[
        str, Arg(help="Pipeline with a metric_entity_linker, by path or package name")
    ],
    corpus: Annotated[
        Path, Arg(help="Annotated documents (.pubtator or .txt, plain or .gz, or .spacy)")
    ],
    kb: Annotated[
        Path | None,
        Opt(
            "--kb",
            help="Knowledge base to link to, instead of the pipeline's own; vectors of another encoder in it are replaced",
        ),
    ] = None,
    output: Annotated[
        Path | None, Opt("--output", "-o", help="JSON file to write the metrics to")
    ] = None,
    train: Annotated[
        Path | None,
        Opt(
            "--train",
            "-t",
            help="Training corpus: says which names and concepts were seen, and is what the exact lookup knows; if not given, the mentions counted in the knowledge base say what was seen",
        ),
    ] = None,
    top_k: Annotated[int, Opt("--top-k", "-k", min=1, help="Candidates of each mention")] = 64,
    limit: Annotated[
        int,
        Opt("--limit", "-n", min=0, help="Take only so many documents of the corpus; 0 for all"),
    ] = 0,
    use_predicted_ents: Annotated[
        bool,
        Opt(
            "--use-predicted-ents",
            help="Link the entities that the pipeline finds, instead of the gold mentions; a gold mention that it misses is wrong",
        ),
    ] = False,
    batch_size: Annotated[
        int,
        Opt("--batch-size", "-b", min=1, help="Documents that go through the pipeline together"),
    ] = 32,
    gpu_id: Annotated[int, Opt("--gpu-id", "-g", help="GPU id, or -1 for the CPU")] = -1,
) -> None:
    """
    Evaluate linking on a corpus. Every gold mention is linked, overlapping ones too,
    whatever entities the pipeline would find; any concept of a mention of several is
    right, and mentions without a concept are left out of the shares. The linker's
    threshold is not applied.

    Two measures are about scores, and take all mentions. The expected calibration
    error is how far the best scores are from the share of them that is right: small,
    if scores are probabilities, as those of a linker with a fitted ranker are meant
    to be. The table of thresholds shows what the setting `threshold` would do:
    precision and recall of abstaining from mentions with no concept in the knowledge
    base (NIL), and of the links that are left. The best one has the highest F of links.

    Prints a table and can write all metrics as JSON: accuracy with its 95 % interval,
    accuracy where the gold concept is in the knowledge base, recall at 5 and 64, MRR,
    names and concepts seen in training and not, mentions per second, the calibration
    in 15 bins, and 20 thresholds.

    \b
    EXAMPLES
    $ spacy metric-el evaluate ./pipeline dev.pubtator
    $ spacy metric-el evaluate ./pipeline dev.spacy --kb umls.kb --train train.spacy \\
        --output metrics.json
    """
    from ..encoding.feeding import feed, feeding_pipes
    from ..evaluation.evaluate import link_corpus, link_gold, link_predicted

    check_corpus(corpus)
    if train is not None:
        check_corpus(train)
    use_device(gpu_id)
    nlp, linker = load_pipeline(model)
    if kb is not None:
        linker.load_kb(kb, nlp=nlp, progress=shows_progress())
    # Names that are still to be encoded are no part of what is timed.
    linker.refresh_vectors(progress=shows_progress())
    if use_predicted_ents:
        pipes = list(takewhile(lambda pipe: pipe is not linker, (pipe for _, pipe in nlp.pipeline)))
        link = partial(link_predicted, linker.predict, top_k=top_k)
    else:
        pipes = feeding_pipes(nlp, linker.model)
        link = partial(link_gold, linker.predict_spans, top_k=top_k)
    run = link_corpus(
        read_examples(nlp, corpus, limit=limit),
        partial(feed, pipes),
        link,
        nil=linker.settings.nil,
        batch_size=batch_size,
        progress=shows_progress(),
    )
    if not any(mention.gold for mention in run.mentions):
        raise MetricELError(Errors.E310.format(path=corpus))
    metrics = {
        "model": f"{nlp.meta['lang']}_{nlp.meta['name']}-{nlp.meta['version']}",
        "corpus": corpus.name,
        "documents": run.documents,
        "top_k": top_k,
        "use_predicted_ents": use_predicted_ents,
        **_measure(run.mentions, linker.kb, train, top_k=top_k),
        **run.speed(),
    }
    _show(metrics, Printer())
    if output is not None:
        from ..evaluation.report import write_metrics

        write_metrics(output, metrics)
        Printer().good(f"Wrote {output}")


def _measure(
    mentions: list["LinkedMention"], kb: "FaissKnowledgeBase", train: Path | None, *, top_k: int
) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): All shares, beside those of an exact lookup if there is a training corpus."""
    from ..evaluation.evaluate import evaluate_links

    seen_names, seen_entities = _seen_in(train) if train else _seen_by(kb.records)
    metrics = evaluate_links(
        mentions, kb=kb, seen_names=seen_names, seen_entities=seen_entities, top_k=top_k
    )
    if train is not None:
        metrics["exact_lookup"] = _look_up(mentions, kb, train)
    return metrics


def _look_up(
    mentions: list["LinkedMention"], kb: "FaissKnowledgeBase", train: Path
) -> dict[str, float]:
    from ..evaluation.evaluate import evaluate_exact_lookup

    pairs = ((text, concept) for text, concepts in read_mentions(train) for concept in concepts)
    names = _iter_names(kb.records)
    return evaluate_exact_lookup(mentions, kb=kb, train_mentions=pairs, names=names)


def _seen_in(train: Path) -> tuple[set[str], set[str]]:
    """RETURNS (tuple[set[str], set[str]]): Normalised names and the concept ids of a corpus."""
    from ..text import normalise_name

    names: set[str] = set()
    concepts: set[str] = set()
    for text, concept_ids in read_mentions(train):
        names.add(normalise_name(text))
        concepts.update(concept_ids)
    return names, concepts


def _seen_by(records: "Records") -> tuple[set[str], set[str]]:
    """RETURNS (tuple[set[str], set[str]]): Normalised names and the concept ids that
    the training mentions counted in a knowledge base have used."""
    import numpy as np

    from ..segments import owners_of_lengths

    used = records.name_counts > 0
    owners = owners_of_lengths(np.diff(records.name_offsets))
    names = records.names["key"].take(np.unique(owners[used])).to_pylist()
    entities = np.unique(records.name_entities[used])
    return set(names), set(records.entities["concept_id"].take(entities).to_pylist())


def _iter_names(records: "Records") -> Iterator[tuple[str, str]]:
    concepts = records.entities["concept_id"].to_pylist()
    for start in range(0, records.n_names, NAMES_AT_ONCE):
        texts = records.name_texts(start, min(start + NAMES_AT_ONCE, records.n_names))
        for i, text in enumerate(texts, start):
            first, last = records.name_offsets[i : i + 2]
            for entity in records.name_entities[first:last].tolist():
                yield text, concepts[entity]


def _show(metrics: dict[str, Any], msg: Printer) -> None:
    from ..evaluation.report import format_metrics, format_thresholds

    rows = {metrics["model"]: metrics}
    if "exact_lookup" in metrics:
        rows["exact lookup"] = metrics["exact_lookup"]
    typer.echo(format_metrics(rows))
    low, high = metrics["acc_interval"]
    nil = metrics["nil"]
    counts = {
        "Documents": f"{metrics['documents']:,}",
        "Mentions with a concept": f"{metrics['mentions']:,}",
        "Mentions without (NIL, left out)": f"{metrics['nil_mentions']:,}",
        "Gold concept in the knowledge base": f"{100 * metrics['in_kb']:.1f} % of the mentions",
        "Gold concepts not in it": f"{metrics['gold_ids_not_in_kb']:,} of {metrics['gold_ids']:,}",
        "Mentions with a seen name": f"{metrics['seen_name']['n']:,}",
        "Mentions with a seen concept": f"{metrics['seen_entity']['n']:,}",
        "95 % interval of acc": f"{100 * low:.1f} to {100 * high:.1f}",
        "Mentions/s of the linker alone": f"{metrics['linking_mentions_per_second']:,.0f}",
        "Expected calibration error": f"{100 * metrics['calibration']['ece']:.1f}",
        "Average precision of NIL": f"{100 * nil['average_precision']:.1f}, by chance {100 * nil['share']:.1f}",
    }
    msg.table(counts, max_col=60)
    typer.echo(format_thresholds(nil))
