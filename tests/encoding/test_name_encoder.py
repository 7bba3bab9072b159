"""Name documents, their encoding, and what goes into an index."""

import itertools

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vectors import Vectors

from spacy_metric_el.encoding import kb_rows as encode_kb_module
from spacy_metric_el.encoding import name_encoder as name_encoder_module
from spacy_metric_el.encoding.kb_rows import (
    encode_rows,
    fit_channels,
    progress_bar,
)
from spacy_metric_el.encoding.name_docs import (
    length_batches,
    make_name_docs,
    throwaway_tokenizer,
)

from ..util import LINKER, VOCABULARY, make_example, make_kb, make_nlp, train

NLP = spacy.blank("en")


@pytest.fixture
def nlp():
    """A pipeline whose names have a context channel: they pass through the tok2vec."""
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(model={"name_context": True})
    nlp.initialize()
    return nlp


@pytest.fixture
def names(nlp):
    return nlp.get_pipe(LINKER).encoder.names


# --- documents ---


@pytest.mark.parametrize("text", ["don't", "IL-2/IL-4 receptor", "a.m. U.S.", "x" * 50, "β-cell"])
def test_throwaway_tokenizer_cuts_as_the_pipeline_does(text):
    tokenizer = throwaway_tokenizer(NLP)
    assert [token.text for token in tokenizer(text)] == [token.text for token in NLP(text)]
    assert tokenizer.vocab is not NLP.vocab


def test_throwaway_tokenizer_keeps_the_lexical_features():
    token, own = throwaway_tokenizer(NLP)("Aspirin")[0], NLP("Aspirin")[0]
    assert (token.norm, token.prefix, token.suffix, token.shape) == (
        own.norm,
        own.prefix,
        own.suffix,
        own.shape,
    )
    assert token.shape_ == "Xxxxx"


def test_throwaway_tokenizer_leaves_the_string_store():
    before = len(NLP.vocab.strings)
    throwaway_tokenizer(NLP)("neverseenword")
    assert len(NLP.vocab.strings) == before


@pytest.mark.parametrize("mode", ["default", "floret"])
def test_throwaway_tokenizer_shares_the_word_vectors(mode):
    nlp = spacy.blank("en")
    data = np.random.default_rng(0).standard_normal((10, 4)).astype("float32")
    if mode == "floret":
        nlp.vocab.vectors = Vectors(data=data, mode=mode, minn=2, maxn=3, hash_count=2)
    else:
        nlp.vocab.vectors = Vectors(data=data, keys=["fever", "cold"])
        nlp.vocab.strings.add("fever")
        nlp.vocab.strings.add("cold")
    strings, before = nlp.vocab.vectors.strings, len(nlp.vocab.strings)
    doc = throwaway_tokenizer(nlp)("fever neverseenword")
    assert nlp.vocab.vectors.strings is strings is nlp.vocab.strings
    assert len(strings) == before
    assert doc.vocab.vectors.data is nlp.vocab.vectors.data
    found = doc.vocab.vectors.get_batch([token.orth for token in doc])
    expected = nlp.vocab.vectors.get_batch([token.orth for token in nlp("fever neverseenword")])
    assert found[0].any()
    assert found == pytest.approx(expected)


def test_one_throwaway_vocabulary_knows_nothing_of_another():
    throwaway_tokenizer(NLP)("firstword")
    assert "firstword" not in throwaway_tokenizer(NLP).vocab.strings


def test_tokenizers_of_other_kinds():
    class OwnTokenizer(Tokenizer):
        pass

    nlp = spacy.blank("en")
    nlp.tokenizer = OwnTokenizer(nlp.vocab)
    assert throwaway_tokenizer(nlp) is None
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.split())
    assert throwaway_tokenizer(nlp) is None


def test_tokenizer_of_another_kind_encodes(nlp, names):
    expected = names.encode(["heart attack"])
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.split())
    assert names.encode(["heart attack"]) == pytest.approx(expected, abs=1e-6)


def test_a_changed_tokenizer_counts(nlp, names):
    """The copy of the tokenizer is kept between steps, but not against the pipeline's rules."""
    names.encode(["abcdef"])
    kept = names._tokenizer_copy
    names.encode(["abcdef"])
    assert names._tokenizer_copy is kept
    nlp.tokenizer.add_special_case("abcdef", [{"ORTH": "abc"}, {"ORTH": "def"}])
    names.encode(["abcdef"])
    assert [token.text for token in names._tokenizer_copy("abcdef")] == ["abc", "def"]
    nlp.tokenizer.infix_finditer = None
    names.encode(["a-b"])
    assert len(names._tokenizer_copy("a-b")) == len(nlp.make_doc("a-b")) == 1


def test_changed_word_vectors_count(nlp, names):
    names.encode(["fever"])
    nlp.vocab.vectors = Vectors(data=np.ones((1, 4), dtype="float32"), keys=["fever"])
    names.encode(["fever"])
    assert names._tokenizer_copy.vocab.vectors.data is nlp.vocab.vectors.data


def test_spans_cover_the_surface():
    texts = ["IL-2 receptor", "MI of the heart", "a  b"]
    docs, spans = make_name_docs(texts, throwaway_tokenizer(NLP))
    assert [docs[i][start:end].text for i, start, end in spans] == texts
    assert spans.tolist() == [[i, 0, len(doc)] for i, doc in enumerate(docs)]


def test_no_names():
    docs, spans = make_name_docs([], throwaway_tokenizer(NLP))
    assert (docs, spans.shape) == ([], (0, 3))


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120))
@settings(max_examples=200)
def test_length_batches(lengths, max_size):
    batches = length_batches(lengths, max_size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    flat = [lengths[i] for batch in batches for i in batch]
    assert flat == sorted(flat)
    for batch in batches:
        assert batch
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= max_size
    # No batch could have taken the first item of the next one.
    for batch, following in itertools.pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > max_size


# --- encoding ---


def test_encoding_does_not_depend_on_batches(names, monkeypatch):
    texts = [name for entity in VOCABULARY for name in entity.aliases]
    expected = names.encode(texts)
    monkeypatch.setattr(name_encoder_module, "CHARACTERS_PER_BATCH", 20)
    monkeypatch.setattr(name_encoder_module, "NAMES_PER_VOCAB", 3)
    assert names.encode(texts) == pytest.approx(expected, abs=1e-6)
    assert names.encode(texts[::-1]) == pytest.approx(expected[::-1], abs=1e-6)


def test_vocabulary_is_thrown_away(names, monkeypatch):
    monkeypatch.setattr(name_encoder_module, "CHARACTERS_PER_BATCH", 10)
    monkeypatch.setattr(name_encoder_module, "NAMES_PER_VOCAB", 2)
    names.encode(["qwertyuiop", "zzzzzzzzzzzzz", "m" * 20])
    kept = names._tokenizer_copy
    names.encode(["first", "second"])
    assert names._tokenizer_copy is not kept
    assert "qwertyuiop" not in names._tokenizer_copy.vocab.strings


def test_names_without_context_pass_by_the_tok2vec(monkeypatch):
    nlp = make_nlp()
    nlp.initialize()
    names = nlp.get_pipe(LINKER).encoder.names
    monkeypatch.setattr(names.upstream, "predict", None)
    vectors = names.encode(["fever", "heart attack"])
    assert vectors.shape == (2, 48)
    assert not vectors[:, : names.n_empty].any()
    assert names.n_empty == 16
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_nothing_to_encode(names, nlp):
    assert names.encode([]).shape == (0, 48)
    assert names.pool([]).shape == (0, 16)
    vectors, backprop = names.begin_update([])
    assert vectors.shape == (0, 48)
    backprop(vectors)
    assert not any(
        node.has_grad(name)
        for node in nlp.get_pipe(LINKER).model.walk()
        for name in node.param_names
    )


def test_gradients_in_the_order_of_the_names(names, nlp, monkeypatch):
    """Batches are sorted by length; each name's gradient must reach that name."""
    texts = ["a long name of five words", "MI", "fever today"]
    surface = nlp.get_pipe(LINKER).model.get_ref("head").get_ref("surface")
    direction = np.random.default_rng(0).standard_normal((3, 48)).astype("float32")
    found = []
    for size in (16_384, 5):
        monkeypatch.setattr(name_encoder_module, "CHARACTERS_PER_BATCH", size)
        vectors, backprop = names.begin_update(texts)
        assert vectors == pytest.approx(names.encode(texts), abs=1e-6)
        backprop(direction)
        found.append(surface.get_grad("E").copy())
        surface.set_grad("E", np.zeros_like(found[-1]))
    assert found[0].any()
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    _, backprop = names.begin_update(texts)
    backprop(np.ascontiguousarray(direction[::-1]))
    assert surface.get_grad("E") != pytest.approx(found[0], abs=1e-3)


def test_progress_is_reported_batch_by_batch(names, monkeypatch):
    sizes = []
    monkeypatch.setattr(name_encoder_module, "CHARACTERS_PER_BATCH", 12)
    names.encode(["a", "b", "heart attack"], advance=sizes.append)
    assert sorted(sizes) == [1, 2]


@pytest.mark.parametrize(("total", "shown"), [(2, True), (3, False), (3, True)])
def test_a_progress_bar_for_many_names_only(monkeypatch, total, shown):
    monkeypatch.setattr(encode_kb_module, "PROGRESS_FROM", 3)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar(total, "Encoding", shown=shown) as bar:
        assert bool(bar.disable) == (not shown or total < 3)


def test_pool_is_the_mean_of_the_states(names, nlp):
    (pooled,) = names.pool(["heart attack"])
    (states,) = (
        nlp.get_pipe(LINKER).model.get_ref("tok2vec").predict([nlp.make_doc("heart attack")])
    )
    assert pooled == pytest.approx(states.mean(axis=0), abs=1e-5)


# --- a whole vocabulary ---


def test_rows_of_a_vocabulary(names):
    kb = make_kb()
    vectors = encode_rows(names, kb, "print")
    texts = kb.records.name_texts()
    assert vectors.fingerprint == "print"
    assert vectors.names.tolist() == list(range(len(texts)))
    expected = names.encode(texts)
    assert vectors.index.reconstruct_n(0, len(texts)) == pytest.approx(expected, abs=1e-6)


def test_fit_channels_takes_a_sample(names, monkeypatch):
    head = names.model.get_ref("head")
    projections = []
    for sample, seed in [(4_000, 0), (4_000, 1), (5, 0), (5, 1)]:
        monkeypatch.setattr(encode_kb_module, "FIT_SAMPLE", sample)
        fit_channels(names, make_kb().records, seed=seed)
        projections.append(head.get_ref("projection").get_param("W").copy())
    assert projections[0] == pytest.approx(projections[1], abs=1e-6)
    assert (projections[2] != projections[3]).any()


def test_fit_channels_for_a_single_name(names):
    head = names.model.get_ref("head")
    before = head.get_ref("projection").get_param("W").copy()
    fit_channels(names, make_kb([VOCABULARY[7]._replace(aliases=[])]).records, seed=0)
    assert (head.get_ref("projection").get_param("W") == before).all()
    assert np.isfinite(head.get_ref("surface").get_param("w")).all()


# --- names of a training step ---


@pytest.fixture
def training_names(nlp):
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    return linker._training_step().sampler


def test_entities_of_concept_ids(training_names):
    assert training_names.kb.records.entity_indices(["C03", "elsewhere", "C01"]) == [2, 0]
    assert training_names.kb.records.entity_indices(["elsewhere"]) == []


def test_mined_names_are_the_nearest_by_surface(training_names):
    (rows,) = training_names.mine(["Headache"])
    names = training_names.kb.records.name_texts()
    assert names[rows[0]] == "headache"
    assert len(set(rows.tolist())) == len(rows) == len(names)
    again, other = training_names.mine(["headache", "fever"])
    assert (again == rows).all()
    assert names[other[0]] == "fever"
    assert training_names.mine([]) == []


def test_drawn_names(training_names):
    names = training_names.kb.records.name_texts()
    entities = np.asarray([0, 2, 0])
    drawn = training_names.draw(["MI", "cold", "MI"], entities, positives=1, negatives=2)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    own = [
        {
            names.index(name)
            for name in names
            if name in VOCABULARY[entity].aliases or name == VOCABULARY[entity].canonical_name
        }
        for entity in (0, 2)
    ]
    assert all(len(own_names & set(drawn.tolist())) >= 1 for own_names in own)
    assert len(drawn) <= 2 * (1 + 2)
    without = training_names.draw(["MI"], np.asarray([0]), positives=3, negatives=0)
    assert set(without.tolist()) == own[0]


def test_negatives_are_names_of_others(training_names):
    own = set(training_names.kb.records.names_of(0).tolist())
    for _ in range(10):
        drawn = training_names.draw(["heart attack"], np.asarray([0]), positives=3, negatives=4)
        assert own <= set(drawn.tolist())
        assert len(set(drawn.tolist()) - own) == 4


def test_draws_differ_from_step_to_step(training_names):
    draws = {
        tuple(training_names.draw(["fever"], np.asarray([7]), positives=1, negatives=2).tolist())
        for _ in range(20)
    }
    assert len(draws) > 1


def test_new_knowledge_base_new_names(nlp, training_names):
    linker = nlp.get_pipe(LINKER)
    train(nlp, [make_example(nlp, "a fever", ("fever", "C08"))], 1)
    linker.set_kb(make_kb(VOCABULARY[:2]))
    assert linker._training_step().sampler is not training_names
    assert linker._training_step().sampler.kb.records.entity_index("C08") == -1


@pytest.mark.parametrize("name_context", [True, False])
def test_a_transformer_that_reads_by_sentences_cannot_read_names(bert, name_context):
    """Documents of names have no sentences; it is an error, and no name is passed over."""
    nlp = make_nlp("transformer", bert=bert, model={"name_context": name_context})
    nlp.initialize()
    getter = registry.get("span_getters", "spacy-transformers.sent_spans.v1")()
    nlp.get_pipe("transformer").model.attrs["get_spans"] = getter
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    with pytest.raises(ValueError, match="E030"):
        linker.refresh_vectors()
