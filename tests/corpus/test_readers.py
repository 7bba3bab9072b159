import json
import logging
from itertools import islice
from pathlib import Path

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import DocBin

from spacy_metric_el.corpus.alignment import AlignmentCounts, make_gold_doc, write_docbin
from spacy_metric_el.corpus.pubtator import PubTatorDocument, PubTatorMention
from spacy_metric_el.corpus.readers import KBSynonymCorpus, PubTatorCorpus
from spacy_metric_el.errors import MetricELError

DATA = Path(__file__).parents[3] / "shared" / "data"
NLP = spacy.blank("en")

# "antihypertensive" holds a mention of its second half; "high fever" one of "fever".
PUBTATOR = """1|t|An antihypertensive drug
1|a|Low  high fever
1\t7\t19\thypertensive\tDisease\tD1+D2
1\t28\t30\t  \tGap\tD3
1\t30\t40\thigh fever\tSign\tD4
1\t35\t40\tfever\tSign\t-1
"""
COUNTS = AlignmentCounts(mentions=4, expanded=1, overlapping=1, dropped=1, nil=1)


@pytest.fixture
def corpus_path(tmp_path):
    path = tmp_path / "corpus.pubtator"
    others = "".join(f"\n{i}|t|Document {i}\n{i}|a|\n" for i in range(2, 8))
    path.write_text(PUBTATOR + others)
    return path


@pytest.fixture
def kb_path(tmp_path):
    path = tmp_path / "kb.jsonl"
    kb = {"C1": ["one"], "C2": ["heart attack", "MI"], "C3": [f"name {i}" for i in range(30)]}
    records = [{"concept_id": k, "canonical_name": v[0], "aliases": v} for k, v in kb.items()]
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def describe(spans):
    return [(span.text, span.label_, span.kb_id_) for span in spans]


def check_gold(doc):
    assert describe(doc.ents) == [
        ("antihypertensive", "Disease", "D1"),
        ("high fever", "Sign", "D4"),
    ]
    assert describe(doc.spans["mentions"]) == [
        ("antihypertensive", "Disease", "D1|D2"),
        ("high fever", "Sign", "D4"),
        ("fever", "Sign", ""),
    ]
    assert doc.user_data["doc_id"] == "1"


def test_examples_have_bare_words_and_gold_mentions(corpus_path):
    corpus = PubTatorCorpus(corpus_path)
    examples = list(corpus(NLP))
    check_gold(examples[0].reference)
    predicted = examples[0].predicted
    assert predicted.text == examples[0].reference.text
    assert predicted.user_data["doc_id"] == "1"
    assert not predicted.ents
    assert not predicted.spans
    assert corpus.counts == COUNTS
    assert len(examples) == 7


def test_predicted_docs_keep_the_norms_of_the_tokenizer(tmp_path):
    text = "It can't be fever"
    document = tmp_path / "corpus.pubtator"
    document.write_text(f"1|t|{text}\n1\t12\t17\tfever\tSign\tD1\n")
    vocabulary = tmp_path / "kb.jsonl"
    record = {"concept_id": "C1", "canonical_name": text, "aliases": [text]}
    vocabulary.write_text(json.dumps(record))
    norms = [token.norm_ for token in NLP.make_doc(text)]
    assert norms[1:3] == ["can", "not"]
    for corpus in (PubTatorCorpus(document), KBSynonymCorpus(vocabulary, min_names=1)):
        (eg,) = corpus(NLP)
        assert [token.norm_ for token in eg.predicted] == norms
        assert [token.norm_ for token in eg.reference] == norms
        assert eg.predicted.user_data["doc_id"] == eg.reference.user_data["doc_id"]
        assert not eg.predicted.ents


def test_a_partial_pass_leaves_the_counts_alone_and_passes_repeat(corpus_path):
    corpus = PubTatorCorpus(corpus_path)
    assert len(list(islice(corpus(NLP), 2))) == 2
    assert corpus.counts == AlignmentCounts()
    first, second = ([eg.reference.to_bytes() for eg in corpus(NLP)] for _ in range(2))
    assert first == second
    assert corpus.counts == COUNTS


def test_the_stream_does_not_read_ahead(tmp_path):
    path = tmp_path / "bad.pubtator"
    path.write_text(PUBTATOR + "\nnot PubTator\n")
    examples = PubTatorCorpus(path)(NLP)
    check_gold(next(examples).reference)
    with pytest.raises(MetricELError, match=r"bad.pubtator, line 8"):
        next(examples)


def test_one_summary_is_logged(corpus_path, caplog):
    corpus = PubTatorCorpus(corpus_path)
    with caplog.at_level(logging.INFO, logger="spacy_metric_el"):
        list(corpus(NLP))
        list(corpus(NLP))
    (logged,) = caplog.records
    assert logged.levelname == "WARNING"
    assert logged.getMessage().startswith("[W202]")
    assert "of 4 mentions, 1 were expanded" in logged.getMessage()


def test_a_clean_corpus_does_not_warn(tmp_path, caplog):
    path = tmp_path / "corpus.pubtator"
    path.write_text("1|t|fever\n1\t0\t5\tfever\tSign\tD1\n")
    with caplog.at_level(logging.INFO, logger="spacy_metric_el"):
        list(PubTatorCorpus(path)(NLP))
    assert [logged.levelname for logged in caplog.records] == ["INFO"]


def test_limit_and_shuffle(corpus_path):
    def run(**kwargs):
        corpus = PubTatorCorpus(corpus_path, **kwargs)
        return [[eg.reference.user_data["doc_id"] for eg in corpus(NLP)] for _ in range(3)]

    assert run(limit=3) == [["1", "2", "3"]] * 3
    shuffled = run(shuffle=True, seed=1)
    assert all(sorted(ids) == [str(i) for i in range(1, 8)] for ids in shuffled)
    assert len(set(map(tuple, shuffled))) > 1
    assert run(shuffle=True, seed=1) == shuffled
    assert run(shuffle=True, seed=2) != shuffled


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.data())
def test_every_mention_is_placed_or_counted(text, data):
    mentions = []
    for _ in range(data.draw(st.integers(0, 5))):
        start = data.draw(st.integers(0, len(text) - 1))
        end = data.draw(st.integers(start + 1, len(text)))
        mentions.append(PubTatorMention(start, end, text[start:end], "X", ("C1", "C2")))
    doc, counts = make_gold_doc(NLP, PubTatorDocument("1", text, tuple(mentions)))
    spans = doc.spans["mentions"]
    assert counts.mentions == len(mentions) == len(spans) + counts.dropped
    assert counts.overlapping == len(spans) - len(doc.ents)
    assert counts.dropped == sum(not mention.text.strip() for mention in mentions)
    placed = [mention for mention in mentions if mention.text.strip()]
    for span, mention in zip(spans, placed, strict=True):
        assert mention.text.strip() in span.text


def test_write_docbin_round_trip(corpus_path, tmp_path):
    output = tmp_path / "made" / "corpus.spacy"
    assert write_docbin(NLP, [corpus_path], output) == COUNTS
    assert [path.name for path in output.parent.iterdir()] == ["corpus.spacy"]
    docs = list(DocBin().from_disk(output).get_docs(spacy.blank("en").vocab))
    check_gold(docs[0])
    assert len(docs) == 7


def test_write_docbin_writes_nothing_from_a_bad_corpus(tmp_path):
    path = tmp_path / "bad.pubtator"
    path.write_text("not PubTator")
    with pytest.raises(MetricELError):
        write_docbin(NLP, [path], tmp_path / "corpus.spacy")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pubtator"]


def test_names_become_examples(kb_path):
    examples = list(KBSynonymCorpus(kb_path, max_names=4)(NLP))
    assert len(examples) == 6
    for eg in examples:
        assert not eg.predicted.ents
        (ent,) = eg.reference.ents
        assert ent.text == eg.reference.text
        assert ent.label_ == "CONCEPT"
        assert ent.kb_id_ in ("C2", "C3")
    assert [eg.reference.text for eg in examples[:2]] == ["heart attack", "MI"]


def test_names_are_drawn_anew_at_each_pass_and_alike_for_one_seed(kb_path):
    def run(seed):
        corpus = KBSynonymCorpus(kb_path, max_names=4, seed=seed, label="X")
        return [[eg.reference.text for eg in corpus(NLP)] for _ in range(2)]

    first, second = run(seed=1)
    assert first != second
    assert run(seed=1) == [first, second]
    assert run(seed=2) != [first, second]


def test_the_limit_of_a_vocabulary_counts_concepts(kb_path):
    assert len(list(KBSynonymCorpus(kb_path, limit=1)(NLP))) == 2


def test_the_format_and_id_prefix_of_a_vocabulary_can_be_set(tmp_path):
    path = tmp_path / "kb.dat"
    term = '[Term]\nid: X:1\nname: fever\nsynonym: "pyrexia" EXACT []\nxref: {}:7\n'
    path.write_text("remark: no opening that tells the format\n" + term.format("SCT"))
    with pytest.raises(MetricELError) as caught:
        list(KBSynonymCorpus(path)(NLP))
    assert caught.value.code == "E104"
    with pytest.raises(MetricELError) as caught:
        list(KBSynonymCorpus(path, format="obo")(NLP))
    assert caught.value.code == "E108"
    examples = list(KBSynonymCorpus(path, format="obo", id_prefix="SCT")(NLP))
    found = {(eg.reference.text, eg.reference.ents[0].kb_id_) for eg in examples}
    assert found == {("fever", "7"), ("pyrexia", "7")}


def test_a_vocabulary_without_enough_names_is_refused(kb_path):
    with pytest.raises(MetricELError, match=r"kb.jsonl.*40 names") as caught:
        list(KBSynonymCorpus(kb_path, min_names=40, max_names=40)(NLP))
    assert caught.value.code == "E210"


@pytest.mark.parametrize(
    ("corpus", "settings"),
    [
        (PubTatorCorpus, {"limit": -1}),
        (KBSynonymCorpus, {"limit": -1}),
        (KBSynonymCorpus, {"min_names": 0}),
        (KBSynonymCorpus, {"min_names": 3, "max_names": 2}),
    ],
)
def test_settings_out_of_range_are_refused(corpus, settings):
    with pytest.raises(MetricELError, match=f"`{list(settings)[-1]}`") as caught:
        corpus("path", **settings)
    assert caught.value.code == "E211"


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared development data")
def test_a_real_corpus():
    corpus = PubTatorCorpus(DATA / "bc5cdr" / "dev.pubtator")
    assert sum(1 for _ in corpus(NLP)) == 500
    assert corpus.counts.mentions == 9591
    assert corpus.counts.dropped == 0
    assert corpus.counts.expanded < 200
