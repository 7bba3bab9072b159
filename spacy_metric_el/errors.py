"""The catalogue of coded messages: one place, one code each.

Codes are grouped by room: 0xx pipeline and model, 1xx knowledge base,
2xx corpora and learning, 3xx command line and evaluation.
"""

import re
from typing import Any

_CODE = re.compile(r"^\[([EW]\d{3})\]")


class _Coded(type):
    """Prefix every message of the class with its attribute's name."""

    def __getattribute__(cls, name: str) -> Any:
        text = super().__getattribute__(name)
        return text if name.startswith("__") else f"[{name}] {text}"


class _CodedMessage:
    """Read the code of a message, `[E101] ...`, from its front."""

    args: tuple

    @property
    def code(self) -> str:
        """RETURNS (str): The code, such as `E101`; empty for a message without one."""
        match = _CODE.match(str(self.args[0])) if self.args else None
        return match.group(1) if match else ""


class MetricELError(_CodedMessage, ValueError):
    """Every error that spacy-metric-el raises for bad input."""


class MetricELWarning(_CodedMessage, UserWarning):
    """Every warning that spacy-metric-el emits."""


class Errors(metaclass=_Coded):
    """The messages of all errors, by their codes."""

    # fmt: off
    # Pipeline and model
    E001 = "The linker '{name}' has no knowledge base. Call `linker.load_kb(path)`, `linker.set_kb(kb)`, set `kb_loader` in [initialize.components.{name}], or give --kb on the command line."
    E002 = "The linker '{name}' is in no pipeline, or the pipeline has no component that feeds its listener. Add the linker to a pipeline with the tok2vec or transformer that its config names as upstream."
    E003 = "The linker '{name}' got documents that have not been through its upstream component '{upstream}'. Is that component disabled? Without it every mention would get an arbitrary link."
    E004 = "The linker '{name}' is not initialized, and its upstream component is not either. Call `nlp.initialize()` or load a trained pipeline first; a frozen tok2vec has to come from one (`source`)."
    E005 = "The vectors of {path} were made by another encoder (fingerprint {found}, this one's is {expected}). Load with `reencode=True`, or rebuild them: spacy metric-el kb build OUT SOURCE --model MODEL."
    E006 = "The linker '{name}' cannot be trained through a transformer with mixed precision: names and mentions pass through it one after the other, and each backward pass would unscale the other's gradients. Set `name_context = false` in [components.{name}.model], or `mixed_precision = false` in [components.transformer.model]."
    E007 = "`set_kb` takes a FaissKnowledgeBase or a function that returns one, but got {found}."
    E008 = "Setting `{setting}` of the linker '{name}' is {value}, but must be {expected}."
    E009 = "Document {doc}: the span {start} to {end} holds no token. Spans to link need one token or more."
    E010 = "The pipeline points to the knowledge base {path}, but it cannot be opened. Load one with `linker.load_kb(path)`, or on the command line with --kb."
    E011 = "Setting `{setting}` of the metric encoder is {value}, but must be {expected}."
    E012 = "The ranker of the linker '{name}' cannot be fitted: no annotated mention has a concept of the knowledge base. Are the ids of the corpus those of the vocabulary?"
    E013 = "The pipeline's ranker was fitted by another version of spacy-metric-el. Train the pipeline again, or fit the ranker with `linker.fit_ranker(nlp, get_examples)`."
    E014 = "There are no annotated documents to fit the ranker of the linker '{name}' to. Initialize the pipeline with a training corpus, or give one to `linker.fit_ranker(nlp, get_examples)`."
    E015 = "Names cannot be encoded by {workers} workers: {reason}."
    E016 = "The linker '{name}' has no setting `{setting}`. Its settings are: {known}."
    # Knowledge base
    E101 = "{path}, line {line}: not a JSON record of a concept ({reason})."
    E102 = "Concept '{concept}' has no {missing}. A concept needs an id and a name that are not empty."
    E103 = "{path}: there is no such file."
    E104 = "{path}: '{format}' is not a known vocabulary format. Known formats: {known}."
    E105 = "{path}, line {line}: not valid UTF-8. Convert the file to UTF-8 first."
    E106 = "{path}, line {line}: concept '{concept}' is already defined on an earlier line of this file."
    E107 = "{path}, line {line}: not valid OBO ({reason})."
    E108 = "{path}: no term has a name and a cross reference with the prefix '{prefix}'. Prefixes in this file: {prefixes}."
    E109 = "{path}: the file cannot be read ({reason})."
    E110 = "'{scope}' is not a scope of synonyms. Known scopes: {known}."
    E111 = "{path}: the file has no concept."
    E112 = "{path}, line {line}: not a line of {table} ({reason}). Is the file complete?"
    E113 = "{path}: expected one MRCONSO.RRF or MRCONSO.RRF.gz in it, in META or in a release's META, but found {found}."
    E114 = "{path}: no MRSTY.RRF lies beside it, so concepts cannot be filtered by their semantic types."
    E115 = "{path}: none of the {count} names passes the filters. Held back by: {filters}."
    E116 = "{path}: the semantic types {types} are neither in MRSTY.RRF nor in the semantic network. A type is written as in T047."
    E117 = "{path}, line {line}: not a row of this table ({reason})."
    E118 = "{path}: {problem}. Columns of this file: {columns}. Say what to read from which with `columns`."
    E119 = "{path}, line {line}: the row has no {missing}. A row needs the id of a concept and a name that are not empty."
    E120 = "{path}, line {line}: not valid MeSH ({reason}). Is the file complete?"
    E121 = "{path}, {place}: not a MeSH record of a concept ({reason})."
    E122 = "{path}, line {line}: not a line of MeSH in ASCII (`*NEWRECORD`, and after it `KEY = value`): {text!r}."
    E123 = "{path}: not an OBO graph in JSON ({reason})."
    E124 = "{path}: no concept has one of the semantic types {wanted}. Types in this file: {found}."
    E125 = "Vocabularies in SKOS are read with the package rdflib. Install it with: pip install spacy-metric-el[skos]."
    E126 = "{place}: not valid RDF ({reason})."
    E127 = "{path}: no skos:Concept that is in use has an id and a label in the languages wanted ({wanted}). Languages of the labels in this file: {languages}."
    E130 = "Concept '{concept_id}' is defined twice. Merge the sources first (`merge_entities`)."
    E131 = "A knowledge base needs one concept or more."
    E132 = "{path}: this folder is no knowledge base (it has no manifest.json). Build one with: spacy metric-el kb build OUT SOURCE."
    E133 = "{path}: not a manifest that this version can read (found {found}). Build the knowledge base again; one that a newer spacy-metric-el built needs that version."
    E134 = "{path}: the file is damaged or missing (expected {expected}, found {found}). Build the knowledge base again."
    E135 = "{path}: the files cannot be read together ({reason}). Build the knowledge base again."
    E136 = "The knowledge base has no vectors yet. Load it with `linker.load_kb(path)`, or build it with --model."
    E137 = "The vectors to search with are {found} wide, but those of the knowledge base {expected}. It was built for another encoder."
    E138 = "{path}: the folder is not empty and no knowledge base. Choose another one."
    E139 = "{path}: the knowledge base does not hold together: {problems}. Build it again."
    E140 = "The names could not be sorted: {reason}."
    E141 = "The index '{factory}' cannot be made of {rows} vectors of {width} columns: {reason}. It is a factory string of FAISS; without one, the index is chosen by the number of rows."
    E142 = "There are {texts} texts for {queries} vectors to search with."
    # Corpora and learning
    E201 = "{path}, line {line}: not a line of PubTator (a title, an abstract, a mention or a relation): {text!r}."
    E202 = "{path}, line {line}: the offsets of a mention must be whole numbers from 0, but they are {start!r} and {end!r}."
    E203 = "{path}, line {line}: the offsets {start} to {end} are not a stretch of the document's text, which has {length} characters."
    E204 = "{path}, line {line}: the mention is {mention!r}, but the text at its offsets {start} to {end} is {text!r}."
    E205 = "{path}, line {line}: the {kind} comes before the title of its document."
    E206 = "{path}, line {line}: document '{doc_id}' already has its {kind}."
    E207 = "{path}, line {line}: the line is of document '{found}' but stands in the block of document '{doc_id}'. Blank lines separate documents."
    E208 = "{path}, line {line}: document '{doc_id}' is already defined in this file, with another text or other mentions."
    E209 = "{path}: the file has no document."
    E210 = "{path}: no concept has {min_names} names or more, so no example can be made. Lower `min_names` or use another vocabulary."
    E211 = "Corpus setting `{setting}` is {value}, but must be {expected}."
    E230 = "PrototypeTriplet needs a margin above 0 and negatives of 1 or more, but margin is {margin} and negatives is {negatives}."
    E231 = "ClusterBatcher needs size and buffer of 1 or more and partners of 0 or more, but got size {size}, partners {partners}, buffer {buffer}."
    E232 = "fit_ranker needs a number of steps of 1 or more, but got {every}."
    # Command line
    E301 = "{model}: no pipeline can be loaded ({reason})."
    E302 = "A file or folder cannot be read or written: {reason}."
    E303 = "{model}: the pipeline has no `metric_entity_linker`. Its components: {pipes}."
    E304 = "'{lang}' is not a language of spaCy."
    E305 = "{path}: the ending of the file's name does not tell what it is. Known here: {known}."
    E306 = "{path}: not a .spacy file of annotated documents ({reason})."
    E307 = "There is nothing to search for: a text is empty."
    E308 = "{path}: the vectors were made by another encoder than this one. Give the pipeline that made them (--model MODEL), or build the knowledge base again with this one."
    E310 = "{path}: none of the mentions read has a concept id, so there is nothing to evaluate."
    E312 = "GPU {gpu_id} cannot be used ({reason})."
    E313 = "{option} cannot be '{value}'. Known here: {known}."
    E314 = "{path}: nothing can be removed: {found}."
    E315 = "{path}: the vectors are not what this pipeline makes of the names: '{name}' has a cosine of {cosine} to the stored one. Build the knowledge base again with --model."
    E316 = "{path}: there is nothing to add. Give vocabularies, or training corpora with --mentions."
    E317 = "{path}: there is no concept '{concept_id}'."
    # Evaluation
    E350 = "recall@k needs whole numbers k of 1 or more, but k is {k}."
    E351 = "The bootstrap needs samples of 1 or more and a level between 0 and 1, but samples is {samples} and level is {level}."
    E352 = "Calibration needs bins of 1 or more, but n_bins is {n_bins}."
    # fmt: on


class Warnings(metaclass=_Coded):
    """The messages of all warnings, by their codes."""

    # fmt: off
    W001 = "The linker '{name}' was trained with training.accumulate_gradient = {value}. spaCy then sorts each batch by length and splits it, which tears clusters apart: set it to 1 and use smaller batches."
    W002 = "The knowledge base has no vectors of the present weights: {names} names are encoded."
    W004 = "{count} of {total} gold concepts are not in the knowledge base; their mentions teach nothing. First: {examples}."
    W005 = "{path}: the vectors could not be kept here ({reason}); they will be made again at the next load."
    W006 = "The knowledge base of the linker '{name}' lies in no folder, and with `carry_kb = false` the saved pipeline does not hold it. Save it with `linker.kb.to_disk(path)`, and load it with `linker.load_kb(path)`."
    W007 = "Setting `{setting}` of the linker '{name}' belongs to an earlier version, and has no effect any more."

    W201 = "{path}, line {line}: document '{doc_id}' repeats an earlier one word for word and is skipped."
    W202 = "{path}: of {mentions} mentions, {expanded} were expanded to whole tokens, {overlapping} overlap a longer one and are only in doc.spans['mentions'], {dropped} could not be placed on tokens and were dropped, and {nil} have no concept id."
    # fmt: on
