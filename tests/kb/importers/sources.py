"""Small sources of each kind, and the ways to read them."""

import json

import pytest
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.importers import read_entities

from ...util import write_file

OBO = """format-version: 1.2
default-namespace: human_phenotype

[Term]
id: HP:0000006
name: Autosomal dominant inheritance
def: "A mode of inheritance." [HPO:curators]
synonym: "Autosomal dominant" EXACT []
synonym: "Dominant form" RELATED []
synonym: "Dominant with a twist" NARROW []
synonym: "Inheritance" BROAD []
xref: SNOMEDCT_US:263681008
xref: UMLS:C0443147 {source="curated"}
xref: UMLS:C1867440 "a second concept"
xref: https://example.org/1

[Term]
id: HP:0000007
name: Dominant trait
namespace: inheritance
def: "Another definition." []
xref: UMLS:C0443147

[Term]
id: HP:0000008
name: Gone
xref: UMLS:C0000001
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""


# In code points, so that white space and control characters are drawn often enough.
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def write_records(path, *records):
    return write_file(path, "".join(json.dumps(record) + "\n" for record in records))


def record(concept_id="C1", name="Fever", **rest):
    return {"concept_id": concept_id, "canonical_name": name, **rest}


def raised(path, **kwargs):
    with pytest.raises(MetricELError) as caught:
        list(read_entities(path, **kwargs))
    return caught.value


def read_or_code(path, **kwargs):
    try:
        return list(read_entities(path, **kwargs)), ""
    except MetricELError as error:
        return [], error.code
