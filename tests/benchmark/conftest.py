"""A vocabulary and two corpora, small enough to follow by hand."""

import pytest

from spacy_metric_el.corpus.pubtator import read_pubtator
from spacy_metric_el.kb import FaissKnowledgeBase
from spacy_metric_el.kb.knowledge_base import count_mentions

from ..util import VOCABULARY

TRAIN = """\
10|t|A bad cold and a heart attack.
10|a|The zorblax was treated with aspirin. Cold water helped the cold.
10\t6\t10\tcold\tT047\tC03
10\t17\t29\theart attack\tT047\tC01
10\t35\t42\tzorblax\tT047\tC77
10\t60\t67\taspirin\tT121\tC05
10\t69\t73\tCold\tT070\tC04
10\t91\t95\tcold\tT047\tC03

11|t|Cold again, this time with fever and headache.
11\t0\t4\tCold\tT047\tC03
11\t27\t45\tfever and headache\tT184\tC08|C07
"""

DEV = """\
20|t|Cold, fever and no myocardial infarction (MI). MI was ruled out.
20\t0\t4\tCold\tT047\tC03
20\t6\t11\tfever\tT184\tC08
20\t19\t40\tmyocardial infarction\tT047\tC01
20\t42\t44\tMI\tT047\tC01
20\t47\t49\tMI\tT047\tC01
20\t47\t53\tMI was\tT047\t-1

21|t|Fever and headache after acetylsalicylic acid; zorblax and sunburn.
21\t0\t18\tFever and headache\tT184\tC08|C07
21\t25\t45\tacetylsalicylic acid\tT121\tC05
21\t47\t54\tzorblax\tT047\tC77
21\t59\t66\tsunburn\tT037\tC99
"""


@pytest.fixture(scope="session")
def train_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "train.pubtator"
    path.write_text(TRAIN, encoding="utf8")
    return path


@pytest.fixture(scope="session")
def dev_path(train_path):
    path = train_path.with_name("dev.pubtator")
    path.write_text(DEV, encoding="utf8")
    return path


@pytest.fixture(scope="session")
def kb_path(train_path):
    """A knowledge base with the names and concepts of the training mentions."""
    mentions = [
        (mention.text, mention.concept_ids)
        for document in read_pubtator(train_path)
        for mention in document.mentions
    ]
    path = train_path.with_name("kb")
    FaissKnowledgeBase.from_entities(VOCABULARY, count_mentions(mentions)).to_disk(path)
    return path


@pytest.fixture
def task(kb_path, train_path):
    from benchmark.task import Task

    return Task(kb_path, train_path)


@pytest.fixture
def dev(task, dev_path):
    from benchmark.mentions import read_corpus

    return read_corpus(task.nlp, dev_path)
